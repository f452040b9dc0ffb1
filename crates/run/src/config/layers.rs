//! TOML files and overrides, merged into one tree of values with their origins.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use fineline_diagnostics::{Key, KeySegment, Problem};
use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::error::ConfigError;

/// Where a value of the resolved configuration was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueOrigin {
    /// A line of a file.
    File {
        /// Path of the file, as given.
        path: PathBuf,
        /// Line on which the value starts, from 1.
        line: usize,
    },
    /// A `--set` argument.
    Override,
    /// A model preset, by name.
    Preset(String),
    /// Not set: the documented default.
    Default,
}

impl fmt::Display for ValueOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Override => f.write_str("--set"),
            Self::Preset(name) => write!(f, "preset {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A tree of configuration values, merged from layers, with the origin of each.
#[derive(Clone, Debug, Default)]
pub(super) struct Layers {
    /// The file that was read. It may extend others.
    pub(super) file: PathBuf,
    pub(super) values: Map<String, Value>,
    pub(super) origins: BTreeMap<Key, ValueOrigin>,
}

/// Returns where to look for the value at `key`: where it or a value in it was set, or else its section, or
/// the file.
pub(super) fn location(file: &Path, origins: &BTreeMap<Key, ValueOrigin>, key: &Key) -> String {
    let within = || origins.iter().find(|(other, _)| other.starts_with(key)).map(|(_, origin)| origin);
    let around = || std::iter::successors(key.parent(), Key::parent).find_map(|above| origins.get(&above));
    let written = origins.get(key).or_else(within).or_else(around);
    written.map_or_else(|| file.display().to_string(), ToString::to_string)
}

impl Layers {
    /// Reads `path`, merged over the files that it extends.
    pub(super) fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_within(path, &mut Vec::new())
    }

    fn read_within(path: &Path, parents: &mut Vec<PathBuf>) -> Result<Self, ConfigError> {
        let text = fs_err::read_to_string(path)?;
        let identity = fs_err::canonicalize(path)?;
        if parents.contains(&identity) {
            return Err(ConfigError::ExtendsCycle { path: path.to_owned() });
        }
        parents.push(identity);
        let mut own = Self::parse(&text, path)?;
        let mut merged = Self { file: path.to_owned(), ..Self::default() };
        for base in own.take_extends(path)? {
            let base = path.parent().unwrap_or(Path::new("")).join(base);
            merged.overlay(Self::read_within(&base, parents)?);
        }
        merged.overlay(own);
        parents.pop();
        Ok(merged)
    }

    /// Returns where to look for the value at `key`.
    pub(super) fn location(&self, key: &Key) -> String {
        location(&self.file, &self.origins, key)
    }

    /// Returns the error that consists of one problem.
    fn invalid(&self, problem: Problem) -> ConfigError {
        let problem = Problem { place: Some(self.location(&problem.key)), ..problem };
        ConfigError::Invalid { file: self.file.clone(), problems: problem.into() }
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let line_of = |offset: usize| text[..offset].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
            path: path.to_owned(),
            line: line_of(error.span().map_or(0, |span| span.start)),
            message: error.message().to_owned(),
        })?;
        let mut layer = Self { file: path.to_owned(), ..Self::default() };
        let origin_at = |offset| ValueOrigin::File { path: path.to_owned(), line: line_of(offset) };
        layer.values = layer.convert_table(table.get_ref(), &Key::default(), &origin_at)?;
        Ok(layer)
    }

    fn convert_table(
        &mut self,
        table: &DeTable<'_>,
        at: &Key,
        origin_at: &dyn Fn(usize) -> ValueOrigin,
    ) -> Result<Map<String, Value>, ConfigError> {
        let mut values = Map::new();
        for (name, value) in table {
            let key = at.field(name.get_ref());
            // The origin of a table is the line of its name, which the error about an unknown section names.
            self.origins.insert(key.clone(), origin_at(name.span().start));
            values.insert(name.get_ref().to_string(), self.convert(value.get_ref(), &key, origin_at)?);
        }
        Ok(values)
    }

    fn convert(
        &mut self,
        value: &DeValue<'_>,
        at: &Key,
        origin_at: &dyn Fn(usize) -> ValueOrigin,
    ) -> Result<Value, ConfigError> {
        let unreadable = |kind: &str| {
            self.invalid(Problem::new(at.clone(), format!("is a {kind} that can't be represented")))
        };
        Ok(match value {
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Integer(number) => {
                i64::from_str_radix(&number.as_str().replace('_', ""), number.radix())
                    .map(Value::from)
                    .map_err(|_| unreadable("integer"))?
            }
            DeValue::Float(number) => number
                .as_str()
                .replace('_', "")
                .parse()
                .ok()
                .and_then(serde_json::Number::from_f64)
                .map(Value::Number)
                .ok_or_else(|| unreadable("number"))?,
            DeValue::Datetime(_) => return Err(unreadable("date")),
            DeValue::Table(table) => Value::Object(self.convert_table(table, at, origin_at)?),
            DeValue::Array(array) => {
                let mut items = Vec::new();
                for (index, item) in array.iter().enumerate() {
                    let key = at.index(index);
                    self.origins.insert(key.clone(), origin_at(item.span().start));
                    items.push(self.convert(item.get_ref(), &key, origin_at)?);
                }
                Value::Array(items)
            }
        })
    }

    fn take_extends(&mut self, path: &Path) -> Result<Vec<String>, ConfigError> {
        let key = Key::default().field("extends");
        let Some(value) = self.values.remove("extends") else { return Ok(Vec::new()) };
        let message = format!("must be a list of files, relative to {}", path.display());
        let invalid = self.invalid(Problem::new(key.clone(), message));
        self.origins.retain(|at, _| !at.starts_with(&key));
        serde_json::from_value(value).map_err(|_| invalid)
    }

    /// Merges `upper` over this tree. Tables are merged. Anything else, lists included, is replaced.
    pub(super) fn overlay(&mut self, upper: Self) {
        let replaced = merge(&mut self.values, upper.values, &Key::default());
        self.origins.retain(|key, _| !replaced.iter().any(|gone| key.starts_with(gone)));
        self.origins.extend(upper.origins);
    }

    /// Applies one `--set a.b=value`. The value is TOML; what isn't TOML is taken as a string.
    pub(super) fn set(&mut self, assignment: &str) -> Result<(), ConfigError> {
        let bad = |message: &str| ConfigError::BadOverride {
            assignment: assignment.to_owned(),
            message: message.to_owned(),
        };
        let (key, value) = assignment.split_once('=').ok_or_else(|| bad("expected KEY=VALUE"))?;
        let key: Key = key.trim().parse().map_err(|message: String| bad(&message))?;
        let mut layer = Self::default();
        layer.origins.insert(key.clone(), ValueOrigin::Override);
        let value = match DeValue::parse(value.trim()) {
            Ok(parsed) => layer.convert(parsed.get_ref(), &key, &|_| ValueOrigin::Override)?,
            Err(_) => Value::String(value.trim().to_owned()),
        };
        self.origins.retain(|at, _| !at.starts_with(&key));
        self.origins.extend(layer.origins);
        *slot(&mut self.values, &key).map_err(|message| bad(&message))? = value;
        Ok(())
    }
}

/// Merges `upper` into `lower` and returns the keys whose old values are gone.
fn merge(lower: &mut Map<String, Value>, upper: Map<String, Value>, at: &Key) -> Vec<Key> {
    let mut replaced = Vec::new();
    for (name, value) in upper {
        let key = at.field(&name);
        match (lower.get_mut(&name), value) {
            (Some(Value::Object(below)), Value::Object(above)) => replaced.extend(merge(below, above, &key)),
            (_, value) => {
                lower.insert(name, value);
                replaced.push(key);
            }
        }
    }
    replaced
}

/// Returns the slot of `key` in the tree. Missing tables on the way are created.
fn slot<'a>(values: &'a mut Map<String, Value>, key: &Key) -> Result<&'a mut Value, String> {
    let (first, rest) = key.segments().split_first().ok_or("expected a key")?;
    let KeySegment::Field(name) = first else { return Err("a key starts with a section's name".into()) };
    let mut slot = values.entry(name.clone()).or_insert(Value::Null);
    for segment in rest {
        slot = match segment {
            KeySegment::Field(name) => {
                if slot.is_null() {
                    *slot = Value::Object(Map::new());
                }
                let table = slot
                    .as_object_mut()
                    .ok_or_else(|| format!("`{name}` is requested of a value that isn't a table"))?;
                table.entry(name.clone()).or_insert(Value::Null)
            }
            KeySegment::Index(index) => {
                let list = slot.as_array_mut().ok_or("an index is requested of a value that isn't a list")?;
                let len = list.len();
                list.get_mut(*index)
                    .ok_or_else(|| format!("index {index} is past the end of a list of {len}"))?
            }
        };
    }
    Ok(slot)
}
