//! Text from a record: Jinja templates, rendered as in lm-evaluation-harness.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use serde_json::Value;

use crate::text::pattern::Pattern;
use crate::text::python;
use crate::text::whitespace::is_python_space;

/// A Jinja template. Values are printed as in Python. A missing field is an error. Python's methods of
/// strings, lists and dictionaries are available, and the filter `regex_replace` of lm-evaluation-harness
/// (`lm_eval/utils.py`, version 0.4.13).
#[derive(Clone, Debug)]
pub(crate) struct Template {
    environment: Environment<'static>,
}

/// Name of the only template in its environment.
const NAME: &str = "template";

/// The environment shared by all templates.
static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default());
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(print);
    environment.set_unknown_method_callback(method);
    environment.add_filter("trim", |text: String| text.trim_matches(is_python_space).to_owned());
    environment.add_filter("string", |value: minijinja::Value| printed(&value));
    environment.add_filter("regex_replace", regex_replace);
    environment
});

impl Template {
    /// Parses a template. On failure, the reason.
    pub(crate) fn parse(source: &str) -> Result<Self, String> {
        let mut environment = ENVIRONMENT.clone();
        environment.add_template_owned(NAME, source.to_owned()).map_err(|error| described(&error))?;
        Ok(Self { environment })
    }

    /// Renders the template for `record`. On failure, the missing field.
    pub(crate) fn render(&self, record: &Value) -> Result<String, String> {
        let template = self.environment.get_template(NAME).map_err(|error| described(&error))?;
        template.render(Serde(record)).map_err(|error| {
            let is_of_undefined =
                matches!(error.kind(), ErrorKind::UndefinedError | ErrorKind::UnknownMethod);
            let paths = || template.undeclared_variables(true).into_iter().collect();
            match is_of_undefined.then(|| missing(record, &paths())).flatten() {
                Some(path) => format!("there is no field `{path}`"),
                None => described(&error),
            }
        })
    }
}

/// The first of the dotted `paths` that leads to a missing field, truncated after that field.
fn missing(record: &Value, paths: &BTreeSet<String>) -> Option<String> {
    let known = |name: &str| ENVIRONMENT.globals().any(|(global, _)| global == name);
    paths.iter().filter(|path| !known(path)).find_map(|path| {
        let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
        let mut value = record;
        for end in ends {
            let name = path[..end].rsplit('.').next().unwrap_or_default();
            value = match value.as_object()?.get(name) {
                Some(value) => value,
                None => return Some(path[..end].to_owned()),
            };
        }
        None
    })
}

fn described(error: &Error) -> String {
    let position = error.line().map_or_else(String::new, |line| format!(" (line {line} of the template)"));
    let detail = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    format!("{detail}{position}")
}

fn failed(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message.into())
}

/// Prints a value as Python's `str` does.
fn print(out: &mut Output, state: &mut State, value: &minijinja::Value) -> Result<(), Error> {
    if value.is_undefined() {
        return minijinja::escape_formatter(out, state, value);
    }
    out.write_str(&printed(value)).map_err(|_| failed("the text cannot be written"))
}

/// Python's `str(value)`.
fn printed(value: &minijinja::Value) -> String {
    match (value.as_str(), serde_json::to_value(value)) {
        (Some(text), _) => text.to_owned(),
        (None, Ok(value)) => python::text(&value),
        (None, Err(_)) => value.to_string(),
    }
}

/// Python's methods: those of `minijinja-contrib`, with additions, and with Python's definition of
/// whitespace.
fn method(
    state: &mut State,
    value: &minijinja::Value,
    name: &str,
    arguments: &[minijinja::Value],
) -> Result<minijinja::Value, Error> {
    match (value.kind(), name, arguments) {
        (ValueKind::Seq, "index", [wanted]) => {
            let index = value.try_iter()?.position(|item| item == *wanted);
            index
                .map(minijinja::Value::from)
                .ok_or_else(|| failed(format!("{} is not in {}", printed(wanted), printed(value))))
        }
        (ValueKind::String, "index", [wanted]) => {
            let (text, wanted) = (value.as_str().unwrap_or_default(), wanted.as_str().unwrap_or_default());
            let bytes = text.find(wanted).ok_or_else(|| failed(format!("{wanted:?} is not in {text:?}")))?;
            Ok(text[..bytes].chars().count().into())
        }
        (ValueKind::String, "strip" | "lstrip" | "rstrip", []) => {
            let text = value.as_str().unwrap_or_default();
            Ok(minijinja::Value::from(match name {
                "strip" => text.trim_matches(is_python_space),
                "lstrip" => text.trim_start_matches(is_python_space),
                _ => text.trim_end_matches(is_python_space),
            }))
        }
        _ => minijinja_contrib::pycompat::unknown_method_callback(state, value, name, arguments),
    }
}

/// `re.sub(pattern, replacement, text, count)`.
fn regex_replace(
    text: &str,
    pattern: &str,
    replacement: &str,
    count: Option<usize>,
) -> Result<String, Error> {
    let replaced = Pattern::new(pattern)
        .and_then(|pattern| pattern.expanded_in(text, &expansion(replacement), count.unwrap_or(0)));
    replaced.map_err(failed)
}

/// Converts a Python replacement with `\1` and `\g<name>` to the syntax of `fancy_regex`.
fn expansion(replacement: &str) -> String {
    let mut expansion = String::new();
    let mut rest = replacement;
    while let Some((before, after)) = rest.split_once('\\') {
        expansion.push_str(&before.replace('$', "$$"));
        let digits = after.chars().take(2).take_while(char::is_ascii_digit).count();
        let named = after.strip_prefix("g<").and_then(|named| named.split_once('>'));
        rest = match (digits, named) {
            (0, Some((name, after))) => {
                expansion.extend(["${", name, "}"]);
                after
            }
            (0, None) => {
                let mut chars = after.chars();
                match chars.next() {
                    Some('n') => expansion.push('\n'),
                    Some('t') => expansion.push('\t'),
                    Some(c) => expansion.push(c),
                    None => expansion.push('\\'),
                }
                chars.as_str()
            }
            (digits, _) => {
                expansion.extend(["${", &after[..digits], "}"]);
                &after[digits..]
            }
        };
    }
    expansion + &rest.replace('$', "$$")
}

/// The value at a dotted `path` of `record`. A number indexes a list.
pub(crate) fn field<'a>(record: &'a Value, path: &str) -> Result<&'a Value, String> {
    path.split('.')
        .try_fold(record, |value, name| match value {
            Value::Array(list) => list.get(name.parse::<usize>().ok()?),
            value => value.get(name),
        })
        .ok_or_else(|| format!("there is no field `{path}`"))
}

/// A string or a number as text.
pub(crate) fn scalar(value: &Value, path: &str) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("`{path}` is {other}, expected a string or a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(template: &str, record: &Value) -> Result<String, String> {
        Template::parse(template)?.render(record)
    }

    /// Texts of jinja2 in the harness's environment: `scripts/fixtures/templates.py`.
    #[test]
    fn templates_mean_what_they_mean_in_jinja() {
        let golden: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/templates.json")).unwrap();
        let differs = |case: &&Value| {
            let rendered = render(case["template"].as_str().unwrap(), &golden["record"]);
            rendered.ok().as_deref() != case["text"].as_str()
        };
        let cases = golden["cases"].as_array().unwrap();
        let rendered = |case: &Value| render(case["template"].as_str().unwrap(), &golden["record"]);
        let wrong: Vec<_> = cases.iter().filter(differs).map(|case| (case, rendered(case))).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let record = json!({"q": ["a"], "o": {"x": 1}});
        assert_eq!(render("{{question}}", &record).unwrap_err(), "there is no field `question`");
        assert_eq!(render("{{o.y}}", &record).unwrap_err(), "there is no field `o.y`");
        assert_eq!(
            render("{{o.x}}{{question.strip()}}", &record).unwrap_err(),
            "there is no field `question`"
        );
        assert!(render("{{q", &record).unwrap_err().contains("unexpected end of input"));
        assert!(render("a\n{{ a b }}", &record).unwrap_err().contains("(line 2 of the template)"));
        assert!(render("{{ q | nothing }}", &record).unwrap_err().contains("nothing"));
        assert_eq!(
            render("{{ q.index('b') }}", &record).unwrap_err(),
            "b is not in ['a'] (line 1 of the template)"
        );
        assert!(
            render("{{ 'a' | regex_replace('(', '') }}", &record)
                .unwrap_err()
                .contains("not a valid regular expression")
        );
    }
}
