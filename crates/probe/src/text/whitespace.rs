//! Whitespace and words as Python counts them.

/// Number of words as counted by lm-evaluation-harness, `len(re.split(r"\s+", text))`: runs of whitespace,
/// plus one.
pub(crate) fn word_count(text: &str) -> usize {
    let mut words = 1;
    let mut in_space = false;
    for space in text.chars().map(is_python_space) {
        words += usize::from(space && !in_space);
        in_space = space;
    }
    words
}

/// Whether Python's `str.isspace` and `\s` accept the character: Unicode's whitespace, and four separators
/// that Unicode doesn't classify as whitespace.
pub(crate) fn is_python_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_as_python_splits() {
        for (text, words) in [("", 1), ("a", 1), ("a b", 2), (" a  b\n", 4), ("\u{1f}", 2), ("你好 世界", 2)]
        {
            assert_eq!(word_count(text), words, "{text:?}");
        }
    }
}
