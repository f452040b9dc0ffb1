//! No line is wider than 110 columns, comments and prose included.

use crate::source::finding::{Finding, FindingKind};
use crate::source::text::{self, Part};

const MAX_COLUMNS: usize = 110;
/// A word or literal of this length makes a line that cannot be broken well.
const LONG_WORD: usize = 80;

/// Pages that `cargo xtask generate` writes from help texts, whose lines are not wrapped.
const GENERATED: [&str; 2] = ["docs/reference/cli.md", "docs/reference/config.md"];

pub(crate) fn check(path: &str, source: &str) -> Vec<Finding> {
    if GENERATED.contains(&path) {
        return Vec::new();
    }
    let extension = path.rsplit_once('.').map_or("", |(_, extension)| extension);
    let wide: Vec<usize> = match extension {
        "rs" => wide_rust(source),
        "md" => wide_markdown(source),
        "toml" => wide_lines(source, crosses_limit),
        "py" | "sh" => wide_lines(source, |_| false),
        _ => Vec::new(),
    };
    let line = |number: usize| source.lines().nth(number - 1).unwrap_or_default();
    wide.into_iter()
        .map(|number| {
            let message = format!("{} columns, at most {MAX_COLUMNS}", columns(line(number)));
            Finding::new(FindingKind::Width, path, number, message)
        })
        .collect()
}

fn columns(line: &str) -> usize {
    line.chars().count()
}

fn is_wide(line: &str) -> bool {
    columns(line) > MAX_COLUMNS && !line.split_whitespace().any(|word| columns(word) >= LONG_WORD)
}

/// Numbers of the wide lines that `is_exempt` does not excuse.
fn wide_lines(source: &str, is_exempt: impl Fn(&str) -> bool) -> Vec<usize> {
    let lines = source.lines().enumerate();
    lines.filter(|(_, line)| is_wide(line) && !is_exempt(line)).map(|(index, _)| index + 1).collect()
}

/// Lines of literals that span several lines, and long raw literals, cannot be broken without changing them.
fn wide_rust(source: &str) -> Vec<usize> {
    let parts = text::lines(source);
    let lines: Vec<&str> = source.lines().collect();
    let is_exempt = |number: usize| {
        let line = &parts[number - 1];
        let raw = line.characters.iter().filter(|(_, part)| *part == Part::RawText).count();
        let snapshot =
            line.characters.windows(2).any(|pair| pair[0] == ('@', Part::Code) && pair[1].0 == '"');
        let is_continued = |number: usize| lines.get(number).is_some_and(|line| line.ends_with('\\'));
        let can_be_broken = is_continued(number - 1) || number >= 2 && is_continued(number - 2);
        line.in_literal && !can_be_broken || raw >= MAX_COLUMNS / 2 || snapshot
    };
    wide_lines(source, |_| false).into_iter().filter(|&number| !is_exempt(number)).collect()
}

fn wide_markdown(source: &str) -> Vec<usize> {
    let mut fence = None;
    let mut wide = Vec::new();
    for (index, line) in source.lines().enumerate() {
        let trimmed = line.trim_start();
        let marker = ["```", "~~~"].into_iter().find(|marker| trimmed.starts_with(marker));
        match (fence, marker) {
            (None, Some(marker)) => fence = Some(marker),
            (Some(open), Some(marker)) if open == marker => fence = None,
            _ if fence.is_some() => {}
            _ if trimmed.starts_with('|') || is_one_link(trimmed) => {}
            _ if is_wide(line) => wide.push(index + 1),
            _ => {}
        }
    }
    wide
}

/// Whether a line is nothing but one link, perhaps as an item of a list.
fn is_one_link(line: &str) -> bool {
    let line = line.trim_start_matches(['-', '*', ' ']).trim_end_matches(['.', ',', ' ']);
    line.starts_with('[') && line.ends_with(')') && line.matches("](").count() == 1
}

/// Whether a long string of a line of TOML reaches over the limit.
fn crosses_limit(line: &str) -> bool {
    let mut open: Option<(char, usize)> = None;
    let mut escaped = false;
    for (column, character) in line.chars().enumerate() {
        match open {
            Some((quote, start)) if character == quote && !escaped => {
                if column >= MAX_COLUMNS && column - start >= MAX_COLUMNS / 4 {
                    return true;
                }
                open = None;
            }
            Some((quote, _)) => escaped = quote == '"' && character == '\\' && !escaped,
            None if character == '#' => break,
            None if character == '"' || character == '\'' => open = Some((character, column)),
            None => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, source: &str) -> Vec<usize> {
        check(path, source).into_iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn wide_comments_and_code_are_found_in_rust() {
        let wide = "x ".repeat(60);
        assert_eq!(lines("a.rs", &format!("// {wide}\n{wide}\nshort\n")), [1, 2]);
        assert_eq!(lines("a.rs", &format!("f(\"{wide}\")")), [1]);
        assert!(lines("a.rs", &format!("f(r#\"{wide}\"#);\nf(\"\n{wide}\n\");")).is_empty());
        assert!(lines("a.rs", &format!("// see {}", "y".repeat(110))).is_empty());
    }

    #[test]
    fn continued_literals_are_not_exempt() {
        let wide = "word ".repeat(30);
        assert_eq!(lines("a.rs", &format!("f(\"{wide}\\\n{wide}\");")), [1, 2]);
    }

    #[test]
    fn width_counts_characters_and_not_bytes() {
        assert!(lines("a.py", &"é ".repeat(55)).is_empty());
    }

    #[test]
    fn tables_code_and_links_are_exempt_in_markdown() {
        let wide = "word ".repeat(30);
        assert_eq!(
            lines("a.md", &format!("{wide}\n\n| {wide} |\n\n```\n{wide}\n```\n- [{wide}](x.md)\n{wide}")),
            [1, 9]
        );
    }

    #[test]
    fn long_strings_are_exempt_in_toml() {
        let wide = "word ".repeat(30);
        assert_eq!(lines("a.toml", &format!("# {wide}\na = \"{wide}\"\nb = 1 # \"{wide}\"")), [1, 3]);
    }
}
