//! Versions of the formats in a run's directory.

/// Version of `run.json` and of the logs beside it. It changes only when a field changes its name or meaning.
pub const RUN_SCHEMA: u32 = 1;

/// Version of a checkpoint's `manifest.json` and `state.json`.
pub const CHECKPOINT_SCHEMA: u32 = 1;

/// A file was written in a newer version of its format than this build reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has schema {found}, but this build reads schema {supported}; use a newer fineline")]
pub struct UnsupportedSchema {
    /// Version of the file.
    pub found: u32,
    /// Newest version that this build reads.
    pub supported: u32,
}

/// Checks that a file's version is one that this build reads.
///
/// # Errors
/// [`UnsupportedSchema`] if `found` is newer than `supported`.
pub fn check_schema(found: u32, supported: u32) -> Result<(), UnsupportedSchema> {
    if found <= supported { Ok(()) } else { Err(UnsupportedSchema { found, supported }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_schema_is_refused_by_its_number() {
        assert_eq!(check_schema(RUN_SCHEMA, RUN_SCHEMA), Ok(()));
        let error = check_schema(RUN_SCHEMA + 1, RUN_SCHEMA).unwrap_err().to_string();
        assert_eq!(error, "has schema 2, but this build reads schema 1; use a newer fineline");
    }
}
