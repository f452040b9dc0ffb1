//! Trees of configuration values.

use std::collections::BTreeMap;

use fineline_diagnostics::{Key, KeySegment};
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

/// Returns the value at `key`, if there is one.
pub(super) fn value_at<'a>(values: &'a Map<String, Value>, key: &Key) -> Option<&'a Value> {
    let (first, rest) = key.segments().split_first()?;
    let KeySegment::Field(name) = first else { return None };
    rest.iter().try_fold(values.get(name)?, |value, segment| match segment {
        KeySegment::Field(name) => value.get(name),
        KeySegment::Index(index) => value.get(index),
    })
}

/// Removes the value at `key`. If it is an item of a list, the whole list is removed, since the others would
/// move.
pub(super) fn remove(values: &mut Map<String, Value>, key: &Key) {
    let mut segments = key.segments();
    while let Some((KeySegment::Index(_), above)) = segments.split_last() {
        segments = above;
    }
    if let Some((KeySegment::Field(name), above)) = segments.split_last()
        && let Some(table) = table_at(values, above)
    {
        table.remove(name);
    }
}

/// Inserts a value into the table that `key` names, which must exist.
pub(super) fn insert(values: &mut Map<String, Value>, key: &Key, value: Value) {
    if let Some((KeySegment::Field(name), above)) = key.segments().split_last()
        && let Some(table) = table_at(values, above)
    {
        table.insert(name.clone(), value);
    }
}

fn table_at<'a>(
    values: &'a mut Map<String, Value>,
    segments: &[KeySegment],
) -> Option<&'a mut Map<String, Value>> {
    let Some((first, rest)) = segments.split_first() else { return Some(values) };
    let KeySegment::Field(name) = first else { return None };
    let mut value = values.get_mut(name)?;
    for segment in rest {
        value = match segment {
            KeySegment::Field(name) => value.get_mut(name)?,
            KeySegment::Index(index) => value.get_mut(index)?,
        };
    }
    value.as_object_mut()
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
