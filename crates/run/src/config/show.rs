//! A resolved configuration for people: as TOML, with origins, or against another.

use std::collections::BTreeMap;
use std::fmt::Write;

use fineline_diagnostics::Key;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Origin, Resolved, RunConfig};

/// A value that two configurations don't share.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The value's key.
    pub key: String,
    /// The left configuration's value; none where it has no such key.
    pub left: Option<Value>,
    /// The right configuration's value.
    pub right: Option<Value>,
}

impl RunConfig {
    /// The configuration as a TOML file that resolves to itself.
    ///
    /// # Panics
    /// Never: every section is a table.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&Value::Object(self.to_values()))
            .expect("a tree of tables, lists and scalars is TOML")
    }

    /// The values in which `self` and `other` differ, by key.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<Difference> {
        let (left, right) = (leaves(&self.to_values()), leaves(&other.to_values()));
        let keys: std::collections::BTreeSet<&Key> = left.keys().chain(right.keys()).collect();
        keys.into_iter()
            .filter(|key| left.get(key) != right.get(key))
            .map(|key| Difference {
                key: key.to_string(),
                left: left.get(key).cloned(),
                right: right.get(key).cloned(),
            })
            .collect()
    }
}

impl Resolved {
    /// The configuration as TOML, each value with its origin in a comment.
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

    /// Every value with its origin, by key.
    #[must_use]
    pub fn origins(&self) -> BTreeMap<String, (Value, Origin)> {
        leaves(&self.config.to_values())
            .into_iter()
            .map(|(key, value)| (key.to_string(), (value, self.origin(&key))))
            .collect()
    }
}

pub(super) fn leaves(values: &Map<String, Value>) -> BTreeMap<Key, Value> {
    let mut found = BTreeMap::new();
    collect(values, &Key::default(), &mut found);
    found
}

fn collect(values: &Map<String, Value>, at: &Key, found: &mut BTreeMap<Key, Value>) {
    for (name, value) in values {
        let key = at.field(name);
        match value {
            Value::Object(table) => collect(table, &key, found),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (index, item) in items.iter().enumerate() {
                    if let Value::Object(table) = item {
                        collect(table, &key.index(index), found);
                    }
                }
            }
            _ => {
                found.insert(key, value.clone());
            }
        }
    }
}
