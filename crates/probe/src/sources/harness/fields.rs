//! Text, target and choices of a record (`doc_to_text`, `doc_to_target`, `doc_to_choice` of
//! `lm_eval/api/task.py`).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::error::ProbeError;
use crate::prompts::template::Template;
use crate::sources::harness::functions::{FieldFunction, PythonFunction};
use crate::sources::harness::yaml::{YamlData, YamlNode};
use crate::text::python;

/// The source of a value.
#[derive(Clone, Debug)]
pub(super) struct FieldSource {
    key: String,
    kind: FieldSourceKind,
}

#[derive(Clone, Debug)]
enum FieldSourceKind {
    /// The same for every record.
    Constant(Value),
    /// The name of a field, or otherwise a template.
    Text {
        text: String,
        template: Box<Template>,
    },
    Function(FieldFunction),
}

/// Interpretation of a rendered text.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TextReading {
    /// As it is.
    Text,
    /// As a number, if it consists of digits. For tasks with choices.
    Number,
    /// As a Python literal.
    Literal,
}

impl FieldSource {
    /// From a YAML value of any form except null.
    pub(super) fn new(node: &YamlNode, key: &str) -> Result<Self, ProbeError> {
        let kind = match PythonFunction::of(node, key)? {
            Some(PythonFunction::Field(function)) => FieldSourceKind::Function(function),
            Some(_) => return Err(node.position.wrong(format!("`{key}`: expected a function of a record"))),
            None => match &node.data {
                YamlData::Scalar(Value::String(text)) => {
                    let template = Template::parse(text)
                        .map_err(|message| node.position.wrong(format!("`{key}`: {message}")))?;
                    FieldSourceKind::Text { text: text.clone(), template: Box::new(template) }
                }
                // The values of a mapping, in order.
                YamlData::Map(fields) => FieldSourceKind::Constant(Value::Array(
                    fields.0.iter().map(|(_, node)| node.value()).collect::<Result<_, _>>()?,
                )),
                _ => FieldSourceKind::Constant(node.value()?),
            },
        };
        Ok(Self { key: key.to_owned(), kind })
    }

    /// Its source text, for the hash of the rules.
    pub(super) fn written(&self) -> String {
        match &self.kind {
            FieldSourceKind::Constant(value) => value.to_string(),
            FieldSourceKind::Text { text, .. } => format!("{text:?}"),
            FieldSourceKind::Function(function) => format!("{function:?}"),
        }
    }

    /// `doc_to_text`. `has_choices`: whether the task has choices.
    pub(super) fn text(
        &self,
        record: &Value,
        fields: &BTreeSet<String>,
        has_choices: bool,
    ) -> Result<Value, String> {
        self.value(record, fields, if has_choices { TextReading::Number } else { TextReading::Text })
    }

    /// `doc_to_target`.
    pub(super) fn target(
        &self,
        record: &Value,
        fields: &BTreeSet<String>,
        has_choices: bool,
    ) -> Result<Value, String> {
        let target = self.text(record, fields, has_choices)?;
        let is_field = matches!(&self.kind, FieldSourceKind::Text { text, .. } if !fields.contains(text));
        Ok(match target {
            Value::String(text)
                if is_field && text.starts_with('[') && text.ends_with(']') && text.len() >= 2 =>
            {
                python::literal(&text).unwrap_or(Value::String(text))
            }
            target => target,
        })
    }

    /// `doc_to_choice`.
    pub(super) fn choices(&self, record: &Value, fields: &BTreeSet<String>) -> Result<Vec<String>, String> {
        match self.value(record, fields, TextReading::Literal)? {
            Value::Array(list) => Ok(list.iter().map(python::text).collect()),
            other => Err(format!("`{}` is {other}, expected a list of choices", self.key)),
        }
    }

    /// A plain text: a description or a prefix.
    pub(super) fn plain(&self, record: &Value, fields: &BTreeSet<String>) -> Result<String, String> {
        Ok(python::text(&self.value(record, fields, TextReading::Text)?))
    }

    fn value(
        &self,
        record: &Value,
        fields: &BTreeSet<String>,
        reading: TextReading,
    ) -> Result<Value, String> {
        let in_key = |message: String| format!("`{}`: {message}", self.key);
        match &self.kind {
            FieldSourceKind::Constant(value) => Ok(value.clone()),
            FieldSourceKind::Function(function) => function.apply(record).map_err(in_key),
            FieldSourceKind::Text { text, .. } if fields.contains(text) => {
                record.get(text).cloned().ok_or_else(|| in_key(format!("there is no field `{text}`")))
            }
            FieldSourceKind::Text { template, .. } => {
                let text = template.render(record).map_err(in_key)?;
                let is_number = !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
                match reading {
                    TextReading::Number if is_number => {
                        text.parse::<u64>().map(Value::from).map_err(|error| in_key(error.to_string()))
                    }
                    TextReading::Literal => python::literal(&text)
                        .ok_or_else(|| in_key(format!("{text:?} is not a list in Python syntax"))),
                    _ => Ok(Value::String(text)),
                }
            }
        }
    }
}
