//! Splits Rust source into code, comments and string literals, line by line.

/// Which part of the source a character belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Code,
    Comment,
    /// Between the quotes of a string literal.
    Text,
    /// Between the quotes of a raw string literal.
    RawText,
}

/// A line of Rust source with the part of each character.
pub(crate) struct SourceLine {
    pub characters: Vec<(char, Part)>,
    /// Whether the line starts or ends inside a string literal.
    pub in_literal: bool,
}

impl SourceLine {
    /// The characters of the given parts; runs of other characters become one space.
    pub(crate) fn text_of(&self, parts: &[Part]) -> String {
        let mut text = String::new();
        for &(character, part) in &self.characters {
            if parts.contains(&part) {
                text.push(character);
            } else if !text.ends_with(' ') {
                text.push(' ');
            }
        }
        text
    }
}

/// Classifies every character of a Rust source file.
pub(crate) fn lines(source: &str) -> Vec<SourceLine> {
    let mut lines = Vec::new();
    let mut current = Vec::new();
    let mut started_in_literal = false;
    for (character, part) in classify(source) {
        if character == '\n' {
            let in_literal = started_in_literal || is_literal(part);
            lines.push(SourceLine { characters: std::mem::take(&mut current), in_literal });
            started_in_literal = is_literal(part);
        } else {
            current.push((character, part));
        }
    }
    if !current.is_empty() {
        lines.push(SourceLine { characters: current, in_literal: started_in_literal });
    }
    lines
}

fn is_literal(part: Part) -> bool {
    matches!(part, Part::Text | Part::RawText)
}

fn classify(source: &str) -> Vec<(char, Part)> {
    let characters: Vec<char> = source.chars().collect();
    let mut out = Vec::with_capacity(characters.len());
    let mut at = 0;
    while at < characters.len() {
        let (length, part) = token(&characters, at);
        for (offset, &character) in characters[at..at + length].iter().enumerate() {
            let quote = is_literal(part) && (offset == 0 || offset + 1 == length);
            out.push((character, if quote { Part::Code } else { part }));
        }
        at += length;
    }
    out
}

/// Length and part of the comment, literal or single character at `at`.
fn token(characters: &[char], at: usize) -> (usize, Part) {
    let rest = &characters[at..];
    match rest {
        ['/', '/', ..] => (rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()), Part::Comment),
        ['/', '*', ..] => (block_comment(rest), Part::Comment),
        ['r', '"' | '#', ..] if !follows_word(characters, at) => match raw_string(rest) {
            Some(length) => (length, Part::RawText),
            None => (1, Part::Code),
        },
        ['"', ..] => (quoted(rest, '"'), Part::Text),
        ['\'', '\\', ..] => (quoted(rest, '\''), Part::Code),
        ['\'', _, '\'', ..] => (3, Part::Code),
        _ => (1, Part::Code),
    }
}

/// Whether the character at `at` continues an identifier; `br"` and `cr"` do not.
fn follows_word(characters: &[char], at: usize) -> bool {
    let is_word = |index: usize| characters.get(index).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let is_prefix = at >= 1 && matches!(characters[at - 1], 'b' | 'c') && (at == 1 || !is_word(at - 2));
    at >= 1 && is_word(at - 1) && !is_prefix
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at + 1 < rest.len() {
        match (rest[at], rest[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn raw_string(rest: &[char]) -> Option<usize> {
    let hashes = rest[1..].iter().take_while(|&&c| c == '#').count();
    if rest.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let mut at = 2 + hashes;
    while at < rest.len() {
        let closes =
            rest[at] == '"' && rest[at + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes;
        at += 1;
        if closes {
            return Some(at + hashes);
        }
    }
    Some(rest.len())
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_told_apart() {
        let line = &lines(r#"let a = "x // y"; // z"#)[0];
        assert_eq!(line.text_of(&[Part::Comment]).trim(), "// z");
        assert_eq!(line.text_of(&[Part::Text]).trim(), "x // y");
    }

    #[test]
    fn quotes_within_characters_and_raw_strings_end_nothing() {
        let line = &lines(r##"f('"', '\'', r#"a " b"#, b"c") // d"##)[0];
        assert_eq!(line.text_of(&[Part::Comment]).trim(), "// d");
        assert!(line.text_of(&[Part::RawText]).contains("a \" b"));
    }

    #[test]
    fn lines_of_a_long_literal_are_in_it() {
        let lines = lines("a(\"b\nc\nd\");\ne");
        assert_eq!(lines.iter().map(|l| l.in_literal).collect::<Vec<_>>(), [true, true, true, false]);
    }

    #[test]
    fn a_lifetime_starts_no_literal() {
        let line = &lines("fn f<'a>(x: &'a str) {} // g")[0];
        assert_eq!(line.text_of(&[Part::Comment]).trim(), "// g");
    }
}
