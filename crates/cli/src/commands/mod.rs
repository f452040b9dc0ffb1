//! One module a command.

pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod generate;
pub(crate) mod plan;
pub(crate) mod probe;
pub(crate) mod tokenizer;
pub(crate) mod train;
pub(crate) mod verify;
pub(crate) mod watch;
pub(crate) mod weights;

use std::io::Write;

use anyhow::Result;
use fineline_run::config::Resolved;
use serde::Serialize;

use crate::args::ConfigArgs;

/// Reads and resolves a configuration.
fn load(args: &ConfigArgs) -> Result<Resolved> {
    Ok(Resolved::load(&args.config, &args.overrides)?)
}

/// Prints one JSON object on standard output.
fn print_json(value: &impl Serialize) -> Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(std::io::Error::from)?;
    Ok(writeln!(out)?)
}

/// Prints text on standard output, as it is.
fn print(text: &str) -> Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

/// `1234567` as `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (6_738_415_616, "6,738,415,616")] {
            assert_eq!(grouped(number), text);
        }
    }
}
