//! Text from a record: `Question: {{question}}` with the record's fields put in.

use serde_json::Value;

use crate::request::is_python_space;

/// A text with places for fields. The syntax is that part of Jinja's in which the expressions are paths with filters after
/// them: `{{ choices.0 | trim }}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(String),
    Field { path: String, filters: Vec<Filter> },
}

/// What is done to a field's text before it is put in.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    /// Without whitespace at its ends, as Python's `str.strip`.
    Trim,
    /// `replace('a', 'b')`: each `a` by a `b`.
    Replace(String, String),
}

impl Template {
    /// Reads a template, or says what is wrong with it.
    pub(crate) fn parse(template: &str) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once("{{") {
            let (field, after) = after.split_once("}}").ok_or("`{{` without `}}`")?;
            segments.push(Segment::Text(text.to_owned()));
            segments.push(Segment::parse(field)?);
            rest = after;
        }
        segments.push(Segment::Text(rest.to_owned()));
        Ok(Self(segments))
    }

    /// The text for `record`, or which field it lacks.
    pub(crate) fn render(&self, record: &Value) -> Result<String, String> {
        let mut text = String::new();
        for segment in &self.0 {
            match segment {
                Segment::Text(part) => text.push_str(part),
                Segment::Field { path, filters } => {
                    let value = scalar(field(record, path)?, path)?;
                    text.push_str(&filters.iter().fold(value, |value, filter| filter.apply(&value)));
                }
            }
        }
        Ok(text)
    }
}

impl Segment {
    /// Reads what stands between `{{` and `}}`.
    fn parse(expression: &str) -> Result<Self, String> {
        let mut parts = expression.split('|').map(str::trim);
        let path = parts.next().unwrap_or_default();
        if path.is_empty() || !path.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) {
            return Err(format!("`{path}` is not the name of a field"));
        }
        Ok(Self::Field {
            path: path.to_owned(),
            filters: parts.map(Filter::parse).collect::<Result<_, _>>()?,
        })
    }
}

impl Filter {
    fn parse(text: &str) -> Result<Self, String> {
        let arguments = text.strip_prefix("replace(").and_then(|rest| rest.strip_suffix(')'));
        let replaced = arguments.and_then(|arguments| arguments.split_once(','));
        match (text, replaced.map(|(from, to)| (quoted(from), quoted(to)))) {
            ("trim", _) => Ok(Self::Trim),
            (_, Some((Some(from), Some(to)))) if !from.is_empty() => Ok(Self::Replace(from, to)),
            _ => Err(format!("`{text}` is no filter: expected `trim` or `replace('a', 'b')`")),
        }
    }

    fn apply(&self, text: &str) -> String {
        match self {
            Self::Trim => text.trim_matches(is_python_space).to_owned(),
            Self::Replace(from, to) => text.replace(from, to),
        }
    }
}

/// The text between quotation marks.
fn quoted(text: &str) -> Option<String> {
    let text = text.trim();
    let inside = |quote| text.strip_prefix(quote)?.strip_suffix(quote);
    inside('\'').or_else(|| inside('"')).map(str::to_owned)
}

/// The value at a dotted `path` of `record`; a number selects from a list.
pub(crate) fn field<'a>(record: &'a Value, path: &str) -> Result<&'a Value, String> {
    path.split('.')
        .try_fold(record, |value, name| match value {
            Value::Array(list) => list.get(name.parse::<usize>().ok()?),
            value => value.get(name),
        })
        .ok_or_else(|| format!("there is no field `{path}`"))
}

/// A string or number as text.
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

    #[test]
    fn fields_are_put_in() {
        let record = json!({"q": "Wo?", "n": 3, "choices": {"text": ["甲", "乙"]}});
        assert_eq!(render("Question: {{ q }}\nAnswer:", &record).unwrap(), "Question: Wo?\nAnswer:");
        assert_eq!(render("{{n}}{{choices.text.1}}", &record).unwrap(), "3乙");
        assert_eq!(render("", &record).unwrap(), "");
        assert_eq!(render("no } fields { here", &record).unwrap(), "no } fields { here");
    }

    #[test]
    fn filters_are_applied_in_turn() {
        let record = json!({"q": " \u{3000}us_foreign_policy \n", "n": 30});
        assert_eq!(render("<{{ q | trim }}>", &record).unwrap(), "<us_foreign_policy>");
        assert_eq!(
            render("{{q|trim|replace('_', ' ')|replace(\"us \", \"\")}}", &record).unwrap(),
            "foreign policy"
        );
        assert_eq!(render("{{ n | replace('0', '') }}", &record).unwrap(), "3");
    }

    #[test]
    fn what_is_missing_is_named() {
        let record = json!({"q": ["a"], "none": null});
        assert_eq!(render("{{question}}", &record).unwrap_err(), "there is no field `question`");
        assert_eq!(render("{{q.1}}", &record).unwrap_err(), "there is no field `q.1`");
        assert_eq!(render("{{q}}", &record).unwrap_err(), "`q` is [\"a\"], expected a string or a number");
        assert_eq!(render("{{none}}", &record).unwrap_err(), "`none` is null, expected a string or a number");
        assert!(render("{{q", &record).unwrap_err().contains("without"));
        assert!(render("{{ a b }}", &record).unwrap_err().contains("`a b` is not the name of a field"));
        for filter in ["upper", "replace('a')", "replace('', 'b')", "replace(a, b)", ""] {
            let error = render(&format!("{{{{ q | {filter} }}}}"), &record).unwrap_err();
            assert!(error.contains(&format!("`{filter}` is no filter")), "{error}");
        }
    }
}
