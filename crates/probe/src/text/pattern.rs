//! Regular expressions as Python's `re` reads them.

use fancy_regex::{Captures, NoExpand, Regex};
use serde::Deserialize;

/// A regular expression in Python's syntax.
///
/// Lookaround and backreferences are there. `$` and `\Z` mean what they mean in Python, and `[` in a class is itself; what else the two dialects
/// disagree on (octal escapes, `\s` over four separators) is left as it is.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Pattern {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Reads a pattern, or says what is wrong with it.
    pub fn new(source: &str) -> Result<Self, String> {
        let regex = Regex::new(&translated(source))
            .map_err(|error| format!("`{source}` is no regular expression: {error}"))?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// Python's `re.findall`, where of several groups the first that isn't empty stands for a match; without groups, the whole match.
    /// Fails where the search would take too long.
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

    /// How many groups it has.
    pub(crate) fn groups(&self) -> usize {
        self.regex.captures_len() - 1
    }

    /// Whether it matches anywhere; where the search would take too long, it doesn't.
    pub(crate) fn is_in(&self, text: &str) -> bool {
        self.regex.is_match(text).unwrap_or(false)
    }

    /// The text with something else in place of each match.
    pub(crate) fn replaced_in(&self, text: &str, with: &str) -> String {
        self.regex.replace_all(text, NoExpand(with)).into_owned()
    }

    /// The text with `expansion`, in which `${1}` is the first group, in place of the first `count` matches; of all, if that is 0.
    pub(crate) fn expanded_in(&self, text: &str, expansion: &str, count: usize) -> Result<String, String> {
        let expanded =
            self.regex.try_replacen(text, count, expansion).map_err(|error| self.failed(&error))?;
        Ok(expanded.into_owned())
    }

    /// Python's `re.sub` with nothing in place of each match.
    pub(crate) fn removed_from(&self, text: &str) -> Result<String, String> {
        let removed = self.regex.try_replacen(text, 0, "").map_err(|error| self.failed(&error))?;
        Ok(removed.into_owned())
    }

    fn failed(&self, error: &fancy_regex::Error) -> String {
        format!("the pattern `{}` failed: {error}", self.source)
    }

    /// The pattern as it was written.
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

/// Patterns are equal if they are written alike.
impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// The pattern in the syntax of `fancy_regex`: Python's `$` also matches before a line break that ends the text, its `\Z` only at the
/// end, and a `[` within a class is no class of its own.
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
                // A `]` that comes first is one of the class.
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

    /// What Python 3.11's `re` answers.
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
        assert!(error.starts_with("`(a` is no regular expression"), "{error}");
        let slow = Pattern::new(r"(?=((x+x+)+)y)(x)\1").unwrap();
        assert!(slow.find_all(&"x".repeat(60)).unwrap_err().contains("failed"));
    }
}
