//! Text from a record: `Question: {{question}}` with the record's fields put in.

use serde_json::Value;

/// A text with places for fields. The syntax is that part of Jinja's in which the expressions are paths: `{{ choices.text }}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Text(String),
    Field(String),
}

impl Template {
    /// Reads a template, or says what is wrong with it.
    pub(crate) fn parse(template: &str) -> Result<Self, String> {
        let mut segments = Vec::new();
        let mut rest = template;
        while let Some((text, after)) = rest.split_once("{{") {
            let (field, after) = after.split_once("}}").ok_or("`{{` without `}}`")?;
            let field = field.trim();
            if field.is_empty() || !field.chars().all(|c| c.is_alphanumeric() || "._-".contains(c)) {
                return Err(format!("`{{{{{field}}}}}` is not the name of a field"));
            }
            segments.push(Segment::Text(text.to_owned()));
            segments.push(Segment::Field(field.to_owned()));
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
                Segment::Field(path) => text.push_str(&scalar(field(record, path)?, path)?),
            }
        }
        Ok(text)
    }
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
    fn what_is_missing_is_named() {
        let record = json!({"q": ["a"], "none": null});
        assert_eq!(render("{{question}}", &record).unwrap_err(), "there is no field `question`");
        assert_eq!(render("{{q.1}}", &record).unwrap_err(), "there is no field `q.1`");
        assert_eq!(render("{{q}}", &record).unwrap_err(), "`q` is [\"a\"], expected a string or a number");
        assert_eq!(render("{{none}}", &record).unwrap_err(), "`none` is null, expected a string or a number");
        assert!(render("{{q", &record).unwrap_err().contains("without"));
        assert!(render("{{ q | upper }}", &record).unwrap_err().contains("not the name of a field"));
    }
}
