//! Regular expressions with the semantics of Python's `re`.

use fancy_regex::{Captures, NoExpand, Regex};
use serde::Deserialize;

/// A regular expression in Python's syntax.
///
/// Supports lookaround and backreferences. `$`, `\Z`, and `[` in a class have their Python meaning. Other
/// differences between the dialects (octal escapes, `\s` for four separators) remain.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A message if it is not a valid regular expression.
    pub fn new(source: &str) -> Result<Self, String> {
        let regex = Regex::new(&translated(source))
            .map_err(|error| format!("`{source}` is not a valid regular expression: {error}"))?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// Python's `re.findall`. Of several groups, the first non-empty one represents a match. Without groups,
    /// the whole match. Fails if the search would take too long.
    pub(crate) fn find_all(&self, text: &str) -> Result<Vec<String>, String> {
        let found = |captures: Result<Captures<'_>, _>| {
            let captures = captures.map_err(|error| self.failed(&error))?;
            let group = |number| captures.get(number).map_or("", |group| group.as_str());
            let text = match captures.len() {
                1 => group(0),
                groups => (1..groups).map(group).find(|text| !text.is_empty()).unwrap_or_default(),
            };
            Ok(text.to_owned())
        };
        self.regex.captures_iter(text).map(found).collect()
    }

    /// Number of groups.
    pub(crate) fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// Whether it matches anywhere. A search that would take too long counts as no match.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }

    /// Replaces each match by a literal text.
    pub(crate) fn replaced_in(&self, text: &str, with: &str) -> String {
        self.regex.replace_all(text, NoExpand(with)).into_owned()
    }

    /// Replaces the first `count` matches, or all if `count` is 0, by `expansion`, in which `${1}` is the
    /// first group.
    pub(crate) fn expanded_in(&self, text: &str, expansion: &str, count: usize) -> Result<String, String> {
        let expanded =
            self.regex.try_replacen(text, count, expansion).map_err(|error| self.failed(&error))?;
        Ok(expanded.into_owned())
    }

    /// Python's `re.sub` with an empty replacement.
    pub(crate) fn removed_from(&self, text: &str) -> Result<String, String> {
        let removed = self.regex.try_replacen(text, 0, "").map_err(|error| self.failed(&error))?;
        Ok(removed.into_owned())
    }

    fn failed(&self, error: &fancy_regex::Error) -> String {
        format!("the pattern `{}` failed: {error}", self.source)
    }

    /// The source of the pattern.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
}

impl TryFrom<String> for Pattern {
    type Error = String;

    fn try_from(source: String) -> Result<Self, String> {
        Self::new(&source)
    }
}

/// Patterns are equal if their sources are.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Translates a pattern to the syntax of `fancy_regex`: Python's `$` also matches before a final line break,
/// its `\Z` only at the end, and a `[` within a class doesn't open a nested class.
fn translated(source: &str) -> String {
    let mut translated = String::with_capacity(source.len());
    let mut chars = source.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('Z') if !in_class => translated.push_str(r"\z"),
                escaped => {
                    translated.push('\\');
                    translated.extend(escaped);
                }
            },
            '[' if in_class => translated.push_str(r"\["),
            '[' => {
                in_class = true;
                translated.push('[');
                translated.extend(chars.next_if_eq(&'^'));
                // A leading `]` is part of the class.
                if chars.next_if_eq(&']').is_some() {
                    translated.push_str(r"\]");
                }
            }
            ']' => {
                in_class = false;
                translated.push(']');
            }
            '&' | '~' if in_class => translated.extend(['\\', c]),
            '$' if !in_class => translated.push_str(r"(?=\n?\z)"),
            c => translated.push(c),
        }
    }
    translated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_all(pattern: &str, text: &str) -> Vec<String> {
        Pattern::new(pattern).unwrap().find_all(text).unwrap()
    }

    /// Results of Python 3.11's `re`.
    #[test]
    fn patterns_mean_what_they_mean_in_python() {
        assert_eq!(find_all(r"(-?[$0-9.,]{2,})|(-?[0-9]+)", "a $1,200. and 7"), ["$1,200.", "7"]);
        assert_eq!(find_all(r"(?<=the answer is )(.*)(?=.)", "So the answer is (A).\nx"), ["(A)"]);
        assert_eq!(find_all(r"#### (\-?[0-9\.\,]+)", "#### -3,000\n#### 4"), ["-3,000", "4"]);
        assert_eq!(find_all("[][a&&b]", "x[]&"), ["[", "]", "&"]);
        assert_eq!(find_all("[^]a]", "]ab"), ["b"]);
        assert_eq!(find_all(r"a\Z", "a\n"), [""; 0]);
        assert_eq!(find_all(r"(\w)\1", "aab猫猫"), ["a", "猫"]);
        let removed = |pattern, text| Pattern::new(pattern).unwrap().removed_from(text).unwrap();
        assert_eq!(removed(r"\.$", "a.b.\n"), "a.b\n");
        assert_eq!(removed(r"(?s).*#### ", "one\n#### two #### 3"), "3");
        assert_eq!(removed(r"\$", "$1"), "1");
        assert_eq!(removed(r"[$]$", "$1$"), "$1");
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        let error = Pattern::new("(a").unwrap_err();
        assert!(error.starts_with("`(a` is not a valid regular expression"), "{error}");
        let slow = Pattern::new(r"(?=((x+x+)+)y)(x)\1").unwrap();
        assert!(slow.find_all(&"x".repeat(60)).unwrap_err().contains("failed"));
    }
}
