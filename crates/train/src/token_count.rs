//! Token counts with suffixes, such as `1.05T`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of tokens, written as `250M`, `1.05T`, or a plain integer.
///
/// The suffixes are `K` (10^3), `M` (10^6), `B` or `G` (10^9) and `T` (10^12), in either case. It is
/// serialized as an integer.
///
/// ```
/// use fineline_train::TokenCount;
///
/// assert_eq!("1.05T".parse::<TokenCount>()?, TokenCount(1_050_000_000_000));
/// # Ok::<(), fineline_train::TokenCountError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenCount(pub u64);

/// A text that is not a [`TokenCount`].
#[derive(Debug, thiserror::Error)]
#[error(
    "{0:?} is not a number of tokens: expected an integer, or a number with K, M, B or T such as \"1.05T\""
)]
pub struct TokenCountError(String);

impl FromStr for TokenCount {
    type Err = TokenCountError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text.trim()).map(Self).ok_or_else(|| TokenCountError(text.to_owned()))
    }
}

/// Parses the digits exactly, not as a float: `1.05T` is exactly 1,050,000,000,000.
fn parse(text: &str) -> Option<u64> {
    let (number, zeros) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (&text[..at], 3),
        (at, 'm' | 'M') => (&text[..at], 6),
        (at, 'b' | 'B' | 'g' | 'G') => (&text[..at], 9),
        (at, 't' | 'T') => (&text[..at], 12),
        _ => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    if whole.is_empty() || !digits(whole) || !digits(fraction) || number.ends_with('.') {
        return None;
    }
    let whole: String = whole.split('_').collect();
    let fraction = fraction.replace('_', "");
    let fraction = fraction.trim_end_matches('0');
    let missing = zeros - u32::try_from(fraction.len()).ok().filter(|&places| places <= zeros)?;
    format!("{whole}{fraction}").parse::<u64>().ok()?.checked_mul(10_u64.pow(missing))
}

impl fmt::Display for TokenCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for TokenCount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for TokenCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = TokenCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of tokens: an integer, or a text such as \"250M\" or \"1.05T\"")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<TokenCount, E> {
                Ok(TokenCount(value))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<TokenCount, E> {
                u64::try_from(value)
                    .map(TokenCount)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(value), &self))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<TokenCount, E> {
                value.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

impl JsonSchema for TokenCount {
    fn schema_name() -> Cow<'static, str> {
        "TokenCount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of tokens: an integer, or a text such as \"250M\" or \"1.05T\".",
            "anyOf": [
                { "type": "integer", "minimum": 1 },
                { "type": "string", "pattern": "^[0-9_]+(\\.[0-9_]+)?[kKmMbBgGtT]?$" }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in ".*") {
            let _ = text.parse::<TokenCount>();
        }

        #[test]
        fn counts_round_trip(count: u64, thousands in 0_u64..1 << 40) {
            prop_assert_eq!(count.to_string().parse::<TokenCount>().unwrap().0, count);
            let text = format!("{}.{:03}M", thousands / 1000, thousands % 1000);
            prop_assert_eq!(text.parse::<TokenCount>().unwrap().0, thousands * 1000);
        }
    }

    #[test]
    fn counts_have_many_forms() {
        for (text, count) in [
            ("250M", 250_000_000),
            ("1.05T", 1_050_000_000_000),
            ("1.0486t", 1_048_600_000_000),
            ("4194304", 4_194_304),
            ("4_194_304", 4_194_304),
            ("0.5k", 500),
            (" 2B ", 2_000_000_000),
            ("3.000G", 3_000_000_000),
        ] {
            assert_eq!(text.parse::<TokenCount>().unwrap().0, count, "{text}");
        }
    }

    #[test]
    fn invalid_counts_are_refused() {
        for text in ["", "T", ".5T", "5.T", "-3M", "1.5", "1e9", "1.0005K", "12 Q", "三M", "99999999999T"] {
            let error = text.parse::<TokenCount>().unwrap_err().to_string();
            assert!(error.contains("1.05T"), "{text}: {error}");
        }
    }

    #[test]
    fn integers_and_texts_are_read_and_integers_are_written() {
        let counts: Vec<TokenCount> = serde_json::from_str(r#"[7, "1.5K"]"#).unwrap();
        assert_eq!(counts, [TokenCount(7), TokenCount(1500)]);
        assert_eq!(serde_json::to_string(&counts).unwrap(), "[7,1500]");
        assert!(serde_json::from_str::<TokenCount>("-7").is_err());
        assert!(serde_json::from_str::<TokenCount>("1.5").is_err());
    }
}
