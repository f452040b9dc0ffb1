//! The JSON schema of the configuration.

use std::collections::BTreeSet;

use fineline_diagnostics::{Key, KeySegment, Problem, Problems, nearest};
use fineline_model::LlamaConfig;
use schemars::{Schema, schema_for};
use serde_json::{Map, Value, json};

use super::run_config::RunConfig;

/// Returns the JSON schema of a configuration, with the keys that exist only in files.
#[must_use]
pub(super) fn json_schema() -> Schema {
    let mut schema = schema_for!(RunConfig);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert(
            "extends".into(),
            json!({
                "type": "array",
                "items": { "type": "string" },
                "description": "Files that this file is merged over, in order. \
                    Paths are relative to this file.",
            }),
        );
    }
    if let Some(model) = schema.pointer_mut("/$defs/LlamaConfig/properties").and_then(Value::as_object_mut) {
        model.insert(
            "preset".into(),
            json!({
                "type": "string",
                "enum": LlamaConfig::PRESETS,
                "description": "Name of a known model. Keys of this section override its values.",
            }),
        );
    }
    schema
}

/// Returns the JSON schema of a single configuration file, for editors and validators.
///
/// No key is required in a table that another file may complete (`extends`). In a list, which a file replaces
/// as a whole, keys are.
#[must_use]
pub fn file_schema() -> Schema {
    let mut schema = json_schema();
    let mut merged = BTreeSet::new();
    merged_tables(schema.as_value(), schema.as_value(), "", &mut merged);
    for pointer in merged {
        if let Some(table) = schema.pointer_mut(&pointer).and_then(Value::as_object_mut) {
            table.remove("required");
        }
    }
    schema
}

/// Collects the JSON pointers of tables that are merged over those of other files.
fn merged_tables(root: &Value, schema: &Value, pointer: &str, found: &mut BTreeSet<String>) {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = target.trim_start_matches('#');
        if let Some(schema) = root.pointer(target) {
            merged_tables(root, schema, target, found);
        }
    }
    for (index, option) in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten().enumerate() {
        merged_tables(root, option, &format!("{pointer}/anyOf/{index}"), found);
    }
    if let Some(fields) = schema.get("properties").and_then(Value::as_object)
        && found.insert(pointer.to_owned())
    {
        for (name, field) in fields {
            merged_tables(root, field, &format!("{pointer}/properties/{name}"), found);
        }
    }
}

/// Reports keys that no section has.
pub(super) fn report_unknown_keys(values: &Map<String, Value>, problems: &mut Problems) {
    let schema = json_schema();
    let root = schema.as_value();
    let mut report = |key: &Key, known: &[&str]| {
        let name = key.to_string();
        let problem = Problem::new(key.clone(), "unknown key");
        let meant = nearest(name.rsplit('.').next().unwrap_or_default(), known.iter().copied());
        problems.push(match meant {
            Some(meant) => problem.with_remedy(format!("did you mean `{meant}`?")),
            None => problem,
        });
    };
    visit(root, root, values, &Key::default(), &mut report);
}

fn visit(
    root: &Value,
    schema: &Value,
    values: &Map<String, Value>,
    at: &Key,
    report: &mut impl FnMut(&Key, &[&str]),
) {
    let Some(properties) = properties(root, schema) else { return };
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    for (name, value) in values {
        let key = at.field(name);
        match (properties.get(name), value) {
            (None, _) => report(&key, &known),
            (Some(schema), Value::Object(table)) => visit(root, schema, table, &key, report),
            (Some(schema), Value::Array(items)) => {
                let Some(item_schema) = resolve(root, schema).get("items") else { continue };
                for (index, item) in items.iter().enumerate() {
                    if let Value::Object(table) = item {
                        visit(root, item_schema, table, &key.index(index), report);
                    }
                }
            }
            _ => {}
        }
    }
}

/// Returns a value of the type that the schema requires at `key`.
pub(super) fn placeholder(key: &Key) -> Option<Value> {
    let schema = json_schema();
    let root = schema.as_value();
    let at = key.segments().iter().try_fold(root, |schema, segment| match segment {
        KeySegment::Field(name) => properties(root, schema)?.get(name),
        KeySegment::Index(_) => resolve(root, schema).get("items"),
    })?;
    match resolve(root, at).get("type")?.as_str()? {
        "string" => Some("".into()),
        "integer" | "number" => Some(1.into()),
        "boolean" => Some(false.into()),
        "array" => Some(Value::Array(Vec::new())),
        "object" => Some(Value::Object(Map::new())),
        _ => None,
    }
}

/// Returns the fields of the table that `schema` describes. None if it describes something else.
pub(super) fn properties<'a>(root: &'a Value, schema: &'a Value) -> Option<&'a Map<String, Value>> {
    resolve(root, schema).get("properties")?.as_object()
}

/// Resolves references, and the schema of an optional value to that of the value.
pub(super) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(target) =
        schema.get("$ref").and_then(Value::as_str).and_then(|at| root.pointer(at.trim_start_matches('#')))
    {
        return resolve(root, target);
    }
    if let Some(options) = schema.get("anyOf").and_then(Value::as_array) {
        let is_null = |option: &&Value| option.get("type").and_then(Value::as_str) == Some("null");
        if let Some(option) = options.iter().find(|option| !is_null(option)) {
            return resolve(root, option);
        }
    }
    schema
}
