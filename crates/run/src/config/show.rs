//! A resolved configuration as annotated TOML.

use std::collections::BTreeMap;
use std::fmt::Write;

use fineline_diagnostics::Key;
use serde_json::Value;

use super::layers::ValueOrigin;
use super::resolved::Resolved;
use super::values::leaves;

impl Resolved {
    /// Returns the configuration as TOML, each value with its origin in a comment.
    #[must_use]
    pub fn to_annotated_toml(&self) -> String {
        let plain = self.config.to_toml();

        let mut text = String::new();
        let mut section = Key::default();
        let mut list_lengths = BTreeMap::<Key, usize>::new();
        for line in plain.lines() {
            if let Some(header) = line.strip_prefix("[[").and_then(|rest| rest.strip_suffix("]]")) {
                let list: Key = header.parse().unwrap_or_default();
                let length = list_lengths.entry(list.clone()).or_default();
                section = list.index(*length);
                *length += 1;
            } else if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = header.parse().unwrap_or_default();
            } else if let Some((name, _)) = line.split_once(" = ") {
                let _ = writeln!(text, "{line:<48}  # {}", self.origin(&section.field(name)));
                continue;
            }
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// Returns each value with its origin, by key.
    #[must_use]
    pub fn origins(&self) -> BTreeMap<String, (Value, ValueOrigin)> {
        leaves(&self.config.to_values())
            .into_iter()
            .map(|(key, value)| (key.to_string(), (value, self.origin(&key))))
            .collect()
    }
}
