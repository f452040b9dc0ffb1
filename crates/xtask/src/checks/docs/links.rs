//! Relative links and repository paths lead somewhere.

use std::collections::BTreeMap;

use super::markdown::Page;

/// Directories whose paths, in code spans, are those of the repository.
const DIRECTORIES: [&str; 7] = [".ci/", ".github/", "configs/", "crates/", "docs/", "scripts/", "tests/"];

/// Whether a file or directory of the repository has this path.
pub(super) fn exists(paths: &[String], path: &str) -> bool {
    let path = path.trim_end_matches('/');
    path.is_empty()
        || paths.iter().any(|other| {
            other.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
}

/// Links of the page at `path` that lead nowhere, with a message each.
pub(super) fn broken_links(
    path: &str,
    pages: &BTreeMap<&str, Page>,
    paths: &[String],
) -> Vec<(usize, String)> {
    let mut broken = Vec::new();
    for (line, target) in &pages[path].links {
        if target.contains("://") || target.starts_with("mailto:") || target.is_empty() {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let file = if file.is_empty() { path.to_owned() } else { join(path, file) };
        if !exists(paths, &file) {
            broken.push((*line, format!("link to `{target}`: {file} does not exist")));
        } else if !anchor.is_empty()
            && let Some(page) = pages.get(file.as_str())
            && !page.anchors.iter().any(|other| other == anchor)
        {
            broken.push((*line, format!("link to `{target}`: {file} has no heading `#{anchor}`")));
        }
    }
    broken
}

/// Code spans that look like a path of the repository but are none.
pub(super) fn broken_paths(page: &Page, paths: &[String]) -> Vec<(usize, String)> {
    let mut broken = Vec::new();
    for (line, span) in &page.spans {
        let word = span.split_whitespace().next().unwrap_or_default();
        let word = word.split(':').next().unwrap_or_default().trim_end_matches([',', '.', ';']);
        let has_placeholder = word.contains(['*', '<', '{', '…', '[', '$']) || word.contains("...");
        if DIRECTORIES.iter().any(|directory| word.starts_with(directory))
            && !has_placeholder
            && !exists(paths, word)
        {
            broken.push((*line, format!("`{word}` does not exist")));
        }
    }
    broken
}

/// The path of a link in the file at `path`, relative to the repository root.
fn join(path: &str, link: &str) -> String {
    let mut segments: Vec<&str> = path.split('/').collect();
    segments.pop();
    for segment in link.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    segments.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_missing_files_and_headings_are_found() {
        let pages = BTreeMap::from([
            (
                "docs/a.md",
                Page::parse(
                    "[1](b.md) [2](b.md#x) [3](b.md#y) [4](c.md) [5](../src/) [6](#h) [7](http://x)\n",
                ),
            ),
            ("docs/b.md", Page::parse("# X\n")),
        ]);
        let paths = ["docs/a.md", "docs/b.md", "src/lib.rs"].map(str::to_owned);
        let broken = broken_links("docs/a.md", &pages, &paths);
        let targets: Vec<&str> =
            broken.iter().map(|(_, message)| message.split('`').nth(1).unwrap()).collect();
        assert_eq!(targets, ["b.md#y", "c.md", "#h"]);
    }

    #[test]
    fn missing_paths_in_code_spans_are_found() {
        let page =
            Page::parse("`crates/a` `crates/b/src/lib.rs:12` `scripts/x.sh --flag` `tests/*.rs` `other/x`\n");
        let paths = ["crates/a/Cargo.toml", "scripts/x.sh"].map(str::to_owned);
        assert_eq!(broken_paths(&page, &paths), [(1, "`crates/b/src/lib.rs` does not exist".to_owned())]);
    }
}
