//! Dependencies of a `Cargo.toml` are sorted within groups of lines that no blank line or comment separates.

use crate::source::finding::{Finding, FindingKind};

pub(crate) fn check(path: &str, source: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut in_dependencies = false;
    let mut last: Option<String> = None;
    for (index, line) in source.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.trim_end_matches(']').ends_with("dependencies");
            last = None;
        } else if line.trim().is_empty() {
            last = None;
        } else if in_dependencies && line.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            let name = line.split(['.', ' ', '=']).next().unwrap_or_default().to_owned();
            if let Some(last) = last.filter(|last| *last > name) {
                let message = format!("`{name}` after `{last}`: sort the dependencies by name");
                findings.push(Finding::new(FindingKind::Dependencies, path, index + 1, message));
            }
            last = Some(name);
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsorted_dependencies_are_found() {
        let sorted =
            "[package]\nname = \"x\"\nedition = \"y\"\n[dependencies]\na.workspace = true\nc = \"1\"\n";
        let source =
            format!("{sorted}b = \"1\"\n\na = \"2\"\n[dev-dependencies]\n# why\nz = \"1\"\ny = \"1\"\n");
        let lines: Vec<usize> =
            check("Cargo.toml", &source).into_iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [7, 13]);
    }
}
