//! `manifest.json` of a checkpoint, as docs/concepts/checkpoints.md describes it.

use std::collections::BTreeMap;

use serde::Deserialize;

pub(crate) const MANIFEST: &str = "manifest.json";
/// What the manifest of a checkpoint is called that the run has gone back behind.
pub(crate) const ABANDONED: &str = "abandoned-manifest.json";

/// Every other file of a checkpoint.
#[derive(Debug, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) files: BTreeMap<String, FileEntry>,
}

/// Size and hash of one file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(crate) struct FileEntry {
    pub(crate) bytes: u64,
    pub(crate) blake3: String,
}

impl Manifest {
    /// Reads a manifest; what it says may be a stranger's, so names that lead out of the folder are refused.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|error| format!("{MANIFEST} is no manifest ({error})"))?;
        match manifest.files.keys().find(|name| !is_plain_name(name)) {
            Some(name) => Err(format!("{MANIFEST} names a file `{name}`, which is no plain name")),
            None => Ok(manifest),
        }
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).sum()
    }
}

/// Whether a name stays in the folder that it is put into.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0']) && name != MANIFEST
}

/// The name of the checkpoint of a step.
pub(crate) fn checkpoint_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// The step of a checkpoint's name.
pub(crate) fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (checkpoint_name(step) == name).then_some(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let manifest = |name: &str| {
            let text = serde_json::json!({"files": {name: {"bytes": 1, "blake3": "00"}}}).to_string();
            Manifest::parse(text.as_bytes()).map(|manifest| manifest.bytes())
        };
        assert_eq!(manifest("model.safetensors"), Ok(1));
        for name in ["../run.json", "a/b", "", ".lock", "..", "C:x", "manifest.json"] {
            assert!(manifest(name).unwrap_err().contains("no plain name"), "{name}");
        }
        assert!(Manifest::parse(b"{\"files\":").unwrap_err().contains("is no manifest"));
    }

    #[test]
    fn steps_and_names() {
        assert_eq!(step_of(&checkpoint_name(200)), Some(200));
        for name in ["step-200", "step-0000020x", "latest", "abandoned-step-00000200"] {
            assert_eq!(step_of(name), None);
        }
    }
}
