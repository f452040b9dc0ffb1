//! Each source file starts with a `//!` header; a module with children is a directory with a `mod.rs`.

use std::collections::BTreeMap;

use crate::source::attributes;
use crate::source::finding::{Finding, FindingKind};
use crate::source::modules::{ModuleTree, ROOT};

pub(crate) fn check(tree: &ModuleTree, files: &BTreeMap<String, String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut add = |path: &str, line, message: String| {
        findings.push(Finding::new(FindingKind::Files, path, line, message));
    };
    for (path, line, error) in &tree.errors {
        add(path, *line, error.clone());
    }
    for (id, module) in tree.modules.iter().enumerate().filter(|(_, module)| !module.is_inline) {
        let Some(text) = files.get(&module.file) else { continue };
        if !text.starts_with("//!") && !text.starts_with("#!") {
            add(
                &module.file,
                1,
                "file without a header: start it with a `//!` line that says what it is for".into(),
            );
        }
        let has_files = module.children.iter().any(|&child| !tree.modules[child].is_inline);
        if id != ROOT && has_files && !module.file.ends_with("/mod.rs") {
            let directory = module.file.trim_end_matches(".rs");
            add(&module.file, 1, format!("module with children: move it to {directory}/mod.rs"));
        }
        let has_path = attributes::explicit_path(&module.attributes).is_some()
            || attributes::has_conditional_path(&module.attributes);
        if let Some(parent) = module.parent.filter(|_| has_path) {
            add(
                &tree.modules[parent].file,
                module.declaration.0,
                "module with a `path` attribute: declare one module per condition".into(),
            );
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::tree;

    #[test]
    fn headers_and_directories_are_checked() {
        let files = [
            ("lib.rs", "//! Demo.\nmod a;\n#[cfg_attr(unix, path = \"c.rs\")]\nmod b;"),
            ("a.rs", "//! A.\nmod d;"),
            ("a/d.rs", "struct D;"),
            ("b.rs", "//! B."),
        ];
        let texts = files
            .iter()
            .map(|(path, text)| (format!("crates/demo/src/{path}"), (*text).to_owned()))
            .collect();
        let found = check(&tree(&files), &texts);
        let places: Vec<(&str, usize)> =
            found.iter().map(|finding| (finding.path.as_str(), finding.line)).collect();
        assert_eq!(
            places,
            [("crates/demo/src/a.rs", 1), ("crates/demo/src/a/d.rs", 1), ("crates/demo/src/lib.rs", 3)]
        );
    }
}
