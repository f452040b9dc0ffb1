//! YAML 1.1 as read by `PyYAML`, with the position of each value, and with Python functions as `!function`.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Span, SpannedEventReceiver};
use serde_json::{Map, Number, Value};

use crate::error::ProbeError;

/// Position of a value.
#[derive(Clone, Debug)]
pub(crate) struct SourcePosition {
    pub(crate) path: Arc<Path>,
    /// Counted from 1.
    pub(crate) line: usize,
}

impl SourcePosition {
    pub(crate) fn wrong(&self, message: impl Into<String>) -> ProbeError {
        ProbeError::HarnessTask { path: self.path.to_path_buf(), line: self.line, message: message.into() }
    }
}

/// A value and its position.
#[derive(Clone, Debug)]
pub(crate) struct YamlNode {
    pub(crate) position: SourcePosition,
    pub(crate) data: YamlData,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum YamlData {
    /// Any value except the following.
    Scalar(Value),
    List(Vec<YamlNode>),
    /// In the order of the file. Of equal keys, the last.
    Map(YamlFields),
    /// `!function module.name`.
    Function(String),
}

/// Two nodes are equal if their values are equal, whatever their positions.
impl PartialEq for YamlNode {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

/// Keys and their values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct YamlFields(pub(crate) Vec<(String, YamlNode)>);

impl YamlFields {
    pub(crate) fn get(&self, key: &str) -> Option<&YamlNode> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, node)| node)
    }

    pub(crate) fn insert(&mut self, key: &str, node: YamlNode) {
        match self.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = node,
            None => self.0.push((key.to_owned(), node)),
        }
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<YamlNode> {
        let at = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.remove(at).1)
    }

    /// Adds the fields of `other`, which replace existing ones.
    pub(crate) fn update(&mut self, other: Self) {
        for (key, node) in other.0 {
            self.insert(&key, node);
        }
    }
}

impl YamlNode {
    /// The value without positions. Fails for a function.
    pub(crate) fn value(&self) -> Result<Value, ProbeError> {
        Ok(match &self.data {
            YamlData::Scalar(value) => value.clone(),
            YamlData::List(list) => Value::Array(list.iter().map(Self::value).collect::<Result<_, _>>()?),
            YamlData::Map(fields) => {
                let field = |(key, node): &(String, Self)| Ok((key.clone(), node.value()?));
                Value::Object(fields.0.iter().map(field).collect::<Result<Map<_, _>, ProbeError>>()?)
            }
            YamlData::Function(name) => {
                return Err(self.position.wrong(format!("`!function {name}` is not allowed here")));
            }
        })
    }
}

/// Reads the fields of the mapping in a file.
pub(crate) fn read(path: &Path) -> Result<YamlFields, ProbeError> {
    let text = fs_err::read_to_string(path)?;
    let path: Arc<Path> = path.into();
    let top = SourcePosition { path: Arc::clone(&path), line: 1 };
    let mut tree = YamlTree {
        path: Arc::clone(&path),
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        problem: None,
    };
    let parsed = Parser::new_from_str(&text).load(&mut tree, false);
    let scanned = |error: ScanError| SourcePosition { path, line: error.marker().line() }.wrong(error.info());
    parsed.map_err(scanned)?;
    if let Some((position, message)) = tree.problem {
        return Err(position.wrong(message));
    }
    match tree.root {
        Some(YamlNode { data: YamlData::Map(fields), .. }) => Ok(fields),
        _ => Err(top.wrong("expected keys and values")),
    }
}

/// A tree built from the parser's events.
struct YamlTree {
    path: Arc<Path>,
    /// The open collections, outermost first.
    open: Vec<OpenCollection>,
    anchors: HashMap<usize, YamlNode>,
    root: Option<YamlNode>,
    problem: Option<(SourcePosition, String)>,
}

struct OpenCollection {
    node: YamlNode,
    anchor: usize,
    /// In a mapping: the key whose value comes next.
    key: Option<String>,
}

impl SpannedEventReceiver<'_> for YamlTree {
    fn on_event(&mut self, event: Event<'_>, span: Span) {
        let position = SourcePosition { path: Arc::clone(&self.path), line: span.start.line() };
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = tag.map(|tag| format!("{}{}", tag.handle(), tag.suffix()));
                let data = match tag.as_deref() {
                    Some("!function") => YamlData::Function(text.into_owned()),
                    Some(tag) if tag.ends_with("str") => YamlData::Scalar(Value::from(text)),
                    None if style == ScalarStyle::Plain => YamlData::Scalar(plain(&text)),
                    None => YamlData::Scalar(Value::from(text)),
                    Some(tag) => {
                        let message = format!("unknown tag `{tag}`: expected `!function`");
                        self.problem.get_or_insert((position.clone(), message));
                        YamlData::Scalar(Value::Null)
                    }
                };
                self.close(YamlNode { position, data }, anchor);
            }
            Event::SequenceStart(_, anchor, _) => self.open(position, YamlData::List(Vec::new()), anchor),
            Event::MappingStart(_, anchor, _) => {
                self.open(position, YamlData::Map(YamlFields::default()), anchor);
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(OpenCollection { node, anchor, .. }) = self.open.pop() {
                    self.close(node, anchor);
                }
            }
            Event::Alias(anchor) => {
                if let Some(node) = self.anchors.get(&anchor).cloned() {
                    self.close(node, 0);
                }
            }
            _ => {}
        }
    }
}

impl YamlTree {
    fn open(&mut self, position: SourcePosition, data: YamlData, anchor: usize) {
        self.open.push(OpenCollection { node: YamlNode { position, data }, anchor, key: None });
    }

    /// Adds a complete node to the enclosing one.
    fn close(&mut self, node: YamlNode, anchor: usize) {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let Some(around) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut around.node.data {
            YamlData::List(list) => list.push(node),
            YamlData::Map(fields) => match around.key.take() {
                None => around.key = Some(key(&node)),
                // The fields of a merged mapping that are not set explicitly.
                Some(key) if key == "<<" => {
                    if let YamlData::Map(merged) = node.data {
                        let mut all = merged;
                        all.update(std::mem::take(fields));
                        *fields = all;
                    }
                }
                Some(key) => fields.insert(&key, node),
            },
            YamlData::Scalar(_) | YamlData::Function(_) => {}
        }
    }
}

fn key(node: &YamlNode) -> String {
    match &node.data {
        YamlData::Scalar(value) => crate::text::python::text(value),
        _ => String::new(),
    }
}

/// An unquoted scalar by the rules of YAML 1.1, in which `no` is a boolean and `1e-5` is a text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::from(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::from(false);
        }
        _ => {}
    }
    integer(text).map(Value::from).or_else(|| real(text)).unwrap_or_else(|| Value::from(text))
}

fn integer(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let digits = digits.replace('_', "");
    let of = |digits: &str, radix| i64::from_str_radix(digits, radix).ok();
    let number = match digits.as_bytes() {
        [b'0', b'b', ..] => of(&digits[2..], 2),
        [b'0', b'x', ..] => of(&digits[2..], 16),
        [b'0', _, ..] => of(&digits, 8),
        _ => of(&digits, 10),
    };
    number.map(|number| sign * number)
}

fn real(text: &str) -> Option<Value> {
    let digits = text.trim_start_matches(['-', '+']);
    let is_real = digits.contains('.') && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    let exponent_is_signed =
        digits.split_once(['e', 'E']).is_none_or(|(_, exponent)| exponent.starts_with(['+', '-']));
    if !is_real || !exponent_is_signed {
        return None;
    }
    Number::from_f64(text.replace('_', "").parse().ok()?).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The values that `PyYAML` reads.
    #[test]
    fn plain_scalars_are_those_of_yaml_1_1() {
        for (text, expected) in [
            ("no", json!(false)),
            ("On", json!(true)),
            ("~", json!(null)),
            ("", json!(null)),
            ("1", json!(1)),
            ("-12", json!(-12)),
            ("1_000", json!(1000)),
            ("010", json!(8)),
            ("0x1F", json!(31)),
            ("1.0", json!(1.0)),
            (".5", json!(0.5)),
            ("1e-5", json!("1e-5")),
            ("1.0e-5", json!(1e-5)),
            ("1.0e5", json!("1.0e5")),
            ("a", json!("a")),
            ("-", json!("-")),
            ("1.2.3", json!("1.2.3")),
            ("09", json!("09")),
            ("y", json!("y")),
        ] {
            assert_eq!(plain(text), expected, "{text}");
        }
    }

    #[test]
    fn values_know_their_places() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t.yaml");
        fs_err::write(&path, "a: &x [1, 'no']\nb:\n  c: !function utils.f\n  \"d\\n\": *x\na: 2\n").unwrap();
        let fields = read(&path).unwrap();
        let b = fields.get("b").unwrap();
        assert_eq!((b.position.line, fields.get("a").unwrap().value().unwrap()), (3, json!(2)));
        let YamlData::Map(inner) = &b.data else { panic!("{b:?}") };
        assert_eq!(inner.get("c").unwrap().data, YamlData::Function("utils.f".into()));
        assert_eq!(inner.get("d\n").unwrap().value().unwrap(), json!([1, "no"]));
        assert!(
            b.value()
                .unwrap_err()
                .to_string()
                .ends_with("t.yaml line 3: `!function utils.f` is not allowed here")
        );
        for (text, expected) in [
            ("a: [1", "line"),
            ("- a", "line 1: expected keys and values"),
            ("a: !other x", "line 1: unknown tag `!other`"),
        ] {
            fs_err::write(&path, text).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
