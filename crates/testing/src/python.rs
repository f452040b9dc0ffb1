//! The Python environment that tests compare with.

use std::path::PathBuf;
use std::process::Command;

use crate::records::skip;

/// The Python that `FINELINE_REFERENCE_PYTHON` names, if it can import all of `modules`.
///
/// Where it cannot, or where the variable is not set, the test is recorded as skipped.
/// `scripts/setup-reference.sh` creates the environment.
#[must_use]
pub fn reference_python(modules: &[&str]) -> Option<PathBuf> {
    let Some(python) = std::env::var_os("FINELINE_REFERENCE_PYTHON") else {
        skip("FINELINE_REFERENCE_PYTHON (scripts/setup-reference.sh)");
        return None;
    };
    for module in modules {
        let import = Command::new(&python).args(["-c", &format!("import {module}")]).output();
        if !import.is_ok_and(|output| output.status.success()) {
            skip(&format!("{module} in the reference Python (scripts/setup-reference.sh)"));
            return None;
        }
    }
    Some(python.into())
}
