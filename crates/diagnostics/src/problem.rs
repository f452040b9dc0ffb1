//! Problems of a configuration.

use std::error::Error;
use std::fmt;

use crate::key::Key;

/// One value of a configuration that can't be used.
///
/// Displayed as `KEY = VALUE (PLACE): MESSAGE; REMEDY`, without the parts that are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Key of the value to change.
    pub key: Key,
    /// The offending value, as TOML writes it. Absent if the value itself is absent or too long to show.
    pub value: Option<String>,
    /// Where the value was set: `FILE:LINE` or `--set`. Sections leave it empty, and the reader of the
    /// files sets it.
    pub place: Option<String>,
    /// The expected value, as a phrase that follows the key.
    pub message: String,
    /// A remedy, if it doesn't follow from the message.
    pub remedy: Option<String>,
}

impl Problem {
    /// A problem with the value at `key`.
    #[must_use]
    pub fn new(key: Key, message: impl Into<String>) -> Self {
        Self { key, value: None, place: None, message: message.into(), remedy: None }
    }

    /// Adds the offending value. Its `Debug` form must be how TOML writes it, as it is for numbers, strings
    /// and lists of them; `format_args!` shows anything else.
    #[must_use]
    pub fn with_value(mut self, value: impl fmt::Debug) -> Self {
        self.value = Some(format!("{value:?}"));
        self
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(place) = &self.place {
            write!(f, " ({place})")?;
        }
        write!(f, ": {}", self.message)?;
        if let Some(remedy) = &self.remedy {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

/// The problems of a configuration, in the order in which they were found.
///
/// Displayed as the problem alone if there is one, otherwise as their number and one indented line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Number of problems.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The problems in their order.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// Returns whether the configuration is valid.
    ///
    /// # Errors
    /// The problems, if there are any.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl Extend<Problem> for Problems {
    fn extend<I: IntoIterator<Item = Problem>>(&mut self, problems: I) {
        self.0.extend(problems);
    }
}

impl FromIterator<Problem> for Problems {
    fn from_iter<I: IntoIterator<Item = Problem>>(problems: I) -> Self {
        Self(problems.into_iter().collect())
    }
}

impl IntoIterator for Problems {
    type Item = Problem;
    type IntoIter = std::vec::IntoIter<Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [problem] = self.0.as_slice() {
            return problem.fmt(f);
        }
        write!(f, "{} problems", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Error for Problems {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_parts_are_not_displayed() {
        let key: Key = "optim.lr".parse().unwrap();
        let bare = Problem::new(key, "must be above 0");
        assert_eq!(bare.to_string(), "optim.lr: must be above 0");
        let full = Problem {
            place: Some("a.toml:3".to_owned()),
            ..bare.clone().with_value(-1.0).with_remedy("use 3e-4")
        };
        assert_eq!(full.to_string(), "optim.lr = -1.0 (a.toml:3): must be above 0; use 3e-4");
        assert_eq!(Problems::from(bare.clone()).to_string(), bare.to_string());
        let both: Problems = [bare, full].into_iter().collect();
        assert_eq!(
            both.to_string(),
            "2 problems\n  optim.lr: must be above 0\n  optim.lr = -1.0 (a.toml:3): must be above 0; use 3e-4"
        );
    }

    #[test]
    fn no_problem_is_a_valid_configuration() {
        assert_eq!(Problems::default().into_result(), Ok(()));
    }
}
