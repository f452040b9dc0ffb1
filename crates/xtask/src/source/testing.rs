//! Small crates given as strings, for the unit tests of the checks.

use std::collections::BTreeMap;

use super::modules::ModuleTree;

/// A crate `demo` of the given files, whose paths are relative to its `src` directory.
pub(crate) fn tree(files: &[(&str, &str)]) -> ModuleTree {
    let files: BTreeMap<String, String> =
        files.iter().map(|(path, text)| (format!("crates/demo/src/{path}"), (*text).to_owned())).collect();
    ModuleTree::parse("demo", "crates/demo/src/lib.rs", &files)
}
