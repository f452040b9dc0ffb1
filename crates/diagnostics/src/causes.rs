//! The message of an error with those of its causes.

use std::error::Error;

/// Returns the message of an error followed by those of its causes. A message that an earlier one contains
/// isn't repeated.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let message = error.to_string();
        if !text.contains(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Layer(&'static str, Option<Box<Layer>>);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|layer| layer as _)
        }
    }

    #[test]
    fn no_message_is_repeated() {
        let disk = Layer("the disk is full", None);
        let write = Layer("can't write x: the disk is full", Some(Box::new(disk)));
        let run = Layer("the run stops", Some(Box::new(write)));
        assert_eq!(with_causes(&run), "the run stops: can't write x: the disk is full");
    }
}
