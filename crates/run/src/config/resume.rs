//! Which keys may change between two starts of a run, and the hash of the others.

use std::sync::LazyLock;

use fineline_diagnostics::{Key, KeySegment};
use serde_json::Value;

use super::run_config::RunConfig;
use super::schema::{json_schema, properties, resolve};
use super::values::leaves;

/// The extension of the schema for a key whose value may change: `#[schemars(extend("x-resume" =
/// "may-change"))]` on the field. On a section, it applies to all keys of the section.
const EXTENSION: &str = "x-resume";

static SCHEMA: LazyLock<Value> = LazyLock::new(|| json_schema().into());

/// Whether the schema of a field says that its value may change on resume.
pub(super) fn is_marked(field: &Value) -> bool {
    field.get(EXTENSION).and_then(Value::as_str) == Some("may-change")
}

impl RunConfig {
    /// Returns whether the value at `key` may differ when a run is resumed: losses and weights don't depend
    /// on it.
    #[must_use]
    pub fn may_change_on_resume(key: &str) -> bool {
        let Ok(key) = key.parse::<Key>() else { return false };
        let mut schema = &*SCHEMA;
        for segment in key.segments() {
            let next = match segment {
                KeySegment::Field(name) => properties(&SCHEMA, schema).and_then(|fields| fields.get(name)),
                KeySegment::Index(_) => resolve(&SCHEMA, schema).get("items"),
            };
            match next {
                None => return false,
                Some(field) if is_marked(field) => return true,
                Some(field) => schema = field,
            }
        }
        false
    }

    /// Returns the BLAKE3 hash of all values but those that [may change on
    /// resume](Self::may_change_on_resume).
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        for (key, value) in leaves(&self.to_values()) {
            let key = key.to_string();
            if !Self::may_change_on_resume(&key) {
                hasher.update(format!("{key} = {value}\n").as_bytes());
            }
        }
        hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys and sections that are marked, outermost only.
    fn marked(schema: &Value, at: &Key, found: &mut Vec<String>) {
        let Some(fields) = properties(&SCHEMA, schema) else { return };
        for (name, field) in fields {
            let key = at.field(name);
            if is_marked(field) {
                found.push(key.to_string());
            } else {
                marked(field, &key, found);
            }
        }
    }

    #[test]
    fn these_keys_may_change() {
        let mut found = Vec::new();
        marked(&SCHEMA, &Key::default(), &mut found);
        found.sort();
        assert_eq!(
            found,
            [
                "checkpoint",
                "data.cache_dir",
                "distributed.bucket_mib",
                "distributed.mode",
                "distributed.ranks_per_process",
                "distributed.timeout_s",
                "guard.max_lr_reductions",
                "guard.max_rewinds",
                "guard.max_skips",
                "guard.stall",
                "log",
                "probes",
                "run.dir",
                "run.name",
                "storage",
                "triggers",
                "validation.every_steps",
                "validation.rows",
            ]
        );
        for key in ["checkpoint.every_steps", "guard.stall.factor", "probes[0].limit", "run.dir", "log"] {
            assert!(RunConfig::may_change_on_resume(key), "{key}");
        }
        for key in ["optim.lr", "guard.window", "data.mix[0].weight", "data", "run", "run.nowhere", ""] {
            assert!(!RunConfig::may_change_on_resume(key), "{key}");
        }
    }
}
