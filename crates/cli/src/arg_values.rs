//! Parsers of argument values, with messages that say what was expected.

use clap::builder::RangedU64ValueParser;
use fineline_data::MIN_VOCAB_SIZE;

/// Parses a number above 0 and below a billion.
pub(crate) fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number < 1e9 => Ok(number),
        _ => Err("expected a number above 0".to_owned()),
    }
}

/// Parses a whole number of at least 1.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&number| number > 0)
        .ok_or_else(|| "expected a whole number of at least 1".to_owned())
}

/// Returns the parser of a number of chunks.
pub(crate) fn chunk_count() -> RangedU64ValueParser<u64> {
    clap::value_parser!(u64).range(1..=100_000)
}

/// Parses the length of a row, in token ids: an input and its target at least.
pub(crate) fn row_length(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|&number: &usize| number > 1);
    number.ok_or_else(|| "expected a whole number of at least 2: an input and its target".to_owned())
}

/// Parses a probability mass, above 0 and at most 1.
pub(crate) fn probability_mass(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number > 0.0 && number <= 1.0);
    number.ok_or_else(|| "expected a number above 0 and at most 1".to_owned())
}

/// Parses a size in bytes, with the units that `transformers` reads: powers of 1000 (`GB`) or 1024 (`GiB`).
pub(crate) fn byte_count(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KB" => 1000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    let bytes = text[..digits].parse().ok().and_then(|number: u64| number.checked_mul(unit));
    bytes.filter(|&bytes| bytes > 0).ok_or_else(|| "expected a size such as 5GB, 500MB or 2GiB".to_owned())
}

/// Parses the size of a byte-level vocabulary.
pub(crate) fn vocab_size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|&size| size >= MIN_VOCAB_SIZE);
    size.ok_or_else(|| format!("expected at least {MIN_VOCAB_SIZE}: the 256 bytes and 3 special tokens"))
}

#[cfg(test)]
mod tests {
    use super::byte_count;

    #[test]
    fn sizes_have_units_of_1000_or_1024() {
        for (text, bytes) in [("7", 7), ("5GB", 5_000_000_000), ("2 GiB", 2 << 30), ("1KB", 1000)] {
            assert_eq!(byte_count(text), Ok(bytes));
        }
        for text in ["", "GB", "0", "1.5GB", "5gb", "99999999999GB"] {
            assert!(byte_count(text).is_err(), "{text}");
        }
    }
}
