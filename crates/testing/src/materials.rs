//! Public files that tests read and the repository does not contain: corpora, tokenizers, models, benchmarks.

use std::path::{Path, PathBuf};

use crate::records::skip;

/// A file or directory of the materials, such as `tokenizers/gpt2/tokenizer.json`.
///
/// Materials are in `$FINELINE_MATERIALS`, by default in `shared/materials` beside the repository. Where the
/// file is missing, the test is recorded as skipped. `CONTRIBUTING.md` says how to get the materials.
#[must_use]
pub fn materials(relative: &str) -> Option<PathBuf> {
    let path = directory().join(relative);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("materials/{relative}"));
    None
}

fn directory() -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/materials");
    std::env::var_os("FINELINE_MATERIALS").map_or(beside, PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exists_is_found() {
        // No material at all may exist here, but the directory itself is one if any does.
        if directory().exists() {
            assert_eq!(materials(""), Some(directory().join("")));
        }
    }
}
