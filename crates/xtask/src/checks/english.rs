//! Phrases that a native engineer of the field would not write, with what to write in their place.

use crate::source::finding::{Finding, FindingKind};
use crate::source::text::{self, Part};

/// Phrases, lower case, and their replacements.
const PHRASES: [(&str, &str); 25] = [
    ("and so forth", "and so on"),
    ("be had", "be available"),
    ("began anew", "restarted"),
    ("begins anew", "restarts"),
    ("begun anew", "restarted"),
    ("besides", "also"),
    ("brought back", "restored"),
    ("by then", "at that point"),
    ("came to nothing", "failed"),
    ("come to grief", "fail"),
    ("comes to grief", "fails"),
    ("comes to nothing", "fails"),
    ("for want of", "without"),
    ("folder", "directory"),
    ("folders", "directories"),
    ("gone back for", "rewound for"),
    ("goes on", "continues"),
    ("in vain", "without success"),
    ("is made of", "consists of"),
    ("left out", "skipped"),
    ("so many", "a number of"),
    ("told of", "reported"),
    ("went back", "rewound"),
    ("what became of", "the outcome of"),
    ("whole checkpoint", "complete checkpoint"),
];

/// Parts of Rust source that people read as English.
const PROSE: [Part; 3] = [Part::Comment, Part::Text, Part::RawText];

/// Files that list such phrases, and texts that the generated world consists of.
const EXEMPT: [&str; 4] = [
    "crates/tinyworld/src/domains/",
    "crates/tinyworld/src/lexicon/",
    "crates/xtask/src/",
    "docs/glossary.md",
];

pub(crate) fn check(path: &str, source: &str) -> Vec<Finding> {
    if EXEMPT.iter().any(|exempt| path.starts_with(exempt)) {
        return Vec::new();
    }
    let (_, extension) = path.rsplit_once('.').unwrap_or_default();
    let prose: Vec<String> = match extension {
        "rs" => text::lines(source).iter().map(|line| line.text_of(&PROSE)).collect(),
        "md" => without_code(source),
        "toml" => source.lines().map(|line| line.split_once('#').unwrap_or_default().1.to_owned()).collect(),
        _ => Vec::new(),
    };
    let mut findings = Vec::new();
    for (index, line) in prose.iter().enumerate() {
        let line = line.to_lowercase();
        for (phrase, replacement) in PHRASES.iter().filter(|(phrase, _)| contains_words(&line, phrase)) {
            let message = format!("`{phrase}`: write `{replacement}`, or say it otherwise");
            findings.push(Finding::new(FindingKind::English, path, index + 1, message));
        }
    }
    findings
}

/// Lines of Markdown, those of code fences empty and code spans removed.
fn without_code(source: &str) -> Vec<String> {
    let mut in_fence = false;
    source
        .lines()
        .map(|line| {
            let is_fence = line.trim_start().starts_with("```");
            in_fence ^= is_fence;
            if in_fence || is_fence {
                return String::new();
            }
            line.split('`').step_by(2).collect::<Vec<_>>().join(" ")
        })
        .collect()
}

/// Whether `phrase` is in `line` between word boundaries.
fn contains_words(line: &str, phrase: &str) -> bool {
    line.match_indices(phrase).any(|(at, _)| {
        let is_word = |c: char| c.is_alphanumeric() || "_-/.".contains(c);
        let before = line[..at].chars().next_back().is_some_and(is_word);
        let after = line[at + phrase.len()..]
            .chars()
            .next()
            .is_some_and(|c| c.is_alphanumeric() || "_-/".contains(c));
        !before && !after
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phrases_are_found_in_comments_strings_and_prose() {
        let source = "/// The run goes on.\nlet folder = \"no folder\"; // left_out\nlet folders = 1;\n";
        let lines: Vec<usize> = check("a.rs", source).into_iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1, 2]);
        let source = "Rows are left out.\n```\nleft out\n```\nKey `folder`, a sofolder\n";
        let lines: Vec<usize> = check("a.md", source).into_iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [1]);
    }

    #[test]
    fn phrases_are_in_lower_case() {
        assert!(PHRASES.iter().all(|(phrase, _)| *phrase == phrase.to_lowercase()));
    }
}
