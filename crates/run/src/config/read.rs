//! From a tree of values to a [`RunConfig`], past the values that can't be read.

use std::collections::BTreeSet;

use fineline_diagnostics::{Key, Problem, Problems, choice_hint};
use fineline_model::LlamaConfig;
use serde_json::{Map, Value};

use super::layers::{Layers, ValueOrigin};
use super::run_config::RunConfig;
use super::schema::{placeholder, report_unknown_keys};
use super::values::{insert, remove, value_at};

/// Inserts the values of `model.preset` that the model's section doesn't set itself.
pub(super) fn expand_preset(layers: &mut Layers, problems: &mut Problems) {
    let key = Key::default().field("model").field("preset");
    let Some(Value::Object(model)) = layers.values.get_mut("model") else { return };
    let Some(preset) = model.get("preset").cloned() else { return };
    let Some(name) = preset.as_str() else {
        problems.push(Problem::new(key, "must be the name of a preset").with_value(format_args!("{preset}")));
        return;
    };
    let Ok(config) = LlamaConfig::preset(name) else {
        let hint = choice_hint(name, &LlamaConfig::PRESETS);
        problems.push(Problem::new(key, format!("no preset has this name{hint}")).with_value(name));
        return;
    };
    model.remove("preset");
    layers.origins.remove(&key);
    let Ok(Value::Object(values)) = serde_json::to_value(config) else {
        unreachable!("a model's configuration is a table")
    };
    for (field, value) in values {
        if !model.contains_key(&field) {
            let key = Key::default().field("model").field(&field);
            layers.origins.insert(key, ValueOrigin::Preset(name.to_owned()));
            model.insert(field, value);
        }
    }
}

/// Reads the configuration.
///
/// Serde stops at the first value that it can't read. To report all of them, unknown keys and values of the
/// wrong type are removed, values that are missing are replaced by placeholders, and the rest is read again.
/// The result is only valid if there are no `problems`. None if not even that is readable.
pub(super) fn read(values: &Map<String, Value>, problems: &mut Problems) -> Option<RunConfig> {
    let mut values = values.clone();
    problems.iter().for_each(|problem| remove(&mut values, &problem.key));
    let mut unknown = Problems::default();
    report_unknown_keys(&values, &mut unknown);
    unknown.iter().for_each(|problem| remove(&mut values, &problem.key));
    problems.extend(unknown);
    let mut missing = BTreeSet::new();
    loop {
        let error = match serde_path_to_error::deserialize(Value::Object(values.clone())) {
            Ok(config) => return Some(config),
            Err(error) => error,
        };
        let key: Key = error.path().to_string().parse().unwrap_or_default();
        let message = error.into_inner().to_string();
        if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            let key = key.field(field);
            if !missing.iter().any(|above| key.starts_with(above)) {
                problems.push(Problem::new(key.clone(), "is missing"));
            }
            if !missing.insert(key.clone()) {
                return None;
            }
            insert(&mut values, &key, placeholder(&key)?);
        } else if missing.contains(&key) || value_at(&values, &key).is_none() {
            return None;
        } else {
            let problem = Problem::new(key.clone(), without_rust_types(&message));
            let value = value_at(&values, &key).filter(|value| !value.is_object() && !value.is_array());
            problems.push(match value {
                Some(value) => problem.with_value(format_args!("{value}")),
                None => problem,
            });
            remove(&mut values, &key);
        }
    }
}

/// Replaces the name of a Rust type at the end of a message of serde by what a user would call it.
fn without_rust_types(message: &str) -> String {
    let names = [
        ("u32", "a whole number of at least 0"),
        ("u64", "a whole number of at least 0"),
        ("usize", "a whole number of at least 0"),
        ("f32", "a number"),
        ("f64", "a number"),
        ("a boolean", "true or false"),
    ];
    names
        .iter()
        .find_map(|(rust, plain)| {
            let start = message.strip_suffix(rust)?.strip_suffix(", expected ")?;
            Some(format!("{start}, expected {plain}"))
        })
        .unwrap_or_else(|| message.to_owned())
}
