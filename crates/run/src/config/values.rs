//! Trees of configuration values.

use std::collections::BTreeMap;

use fineline_diagnostics::Key;
use serde_json::{Map, Value};

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

/// Removes the values that are null, at any depth.
pub(super) fn drop_nulls(values: &mut Map<String, Value>) {
    values.retain(|_, value| !value.is_null());
    for value in values.values_mut() {
        match value {
            Value::Object(table) => drop_nulls(table),
            Value::Array(items) => items.iter_mut().filter_map(Value::as_object_mut).for_each(drop_nulls),
            _ => {}
        }
    }
}
