//! The Python preprocessing that lm-evaluation-harness applies to the records of some tasks before rendering
//! (version 0.4.13).

use serde::Deserialize;
use serde_json::Value;

use crate::prompts::template::{field, scalar};
use crate::text::whitespace::is_python_space;

/// Preprocessing of one task. Adds fields to a record.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Preprocess {
    /// `query` and `choices`, without the markup of `WikiHow` (`hellaswag/utils.py`).
    Hellaswag,
    /// `before` and `after`: the text around the gap in `sentence` (`winogrande/preprocess_winogrande.py`).
    Winogrande,
    /// `text`: the detokenized `page` (`wikitext/preprocess_wikitext.py`).
    Wikitext,
}

impl Preprocess {
    /// The record with the new fields. On failure, the missing field.
    pub(crate) fn apply(self, mut record: Value) -> Result<Value, String> {
        let added: Vec<(&str, Value)> = match self {
            Self::Hellaswag => hellaswag(&record)?,
            Self::Winogrande => winogrande(&record)?,
            Self::Wikitext => vec![("text", detokenized(&text(&record, "page")?).into())],
        };
        let Value::Object(fields) = &mut record else { return Err("the record is not an object".to_owned()) };
        fields.extend(added.into_iter().map(|(name, value)| (name.to_owned(), value)));
        Ok(record)
    }
}

fn text(record: &Value, path: &str) -> Result<String, String> {
    scalar(field(record, path)?, path)
}

fn hellaswag(record: &Value) -> Result<Vec<(&'static str, Value)>, String> {
    let [label, first, second] = ["activity_label", "ctx_a", "ctx_b"].map(|path| text(record, path));
    let query = without_marks(&format!("{}: {} {}", label?, first?, capitalized(&second?)));
    let Value::Array(endings) = field(record, "endings")? else {
        return Err("`endings` is not a list".to_owned());
    };
    let choices = endings.iter().map(|ending| Ok(Value::from(without_marks(&scalar(ending, "endings")?))));
    Ok(vec![("query", query.into()), ("choices", choices.collect::<Result<Vec<_>, String>>()?.into())])
}

/// Python's `str.capitalize`: the first letter in upper case, all others in lower case.
fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars.as_str().to_lowercase().chars()).collect()
}

/// `preprocess` of `hellaswag/utils.py`.
fn without_marks(text: &str) -> String {
    let text = text.trim_matches(is_python_space).replace(" [title]", ". ");
    let mut kept = String::new();
    let mut rest = text.as_str();
    // `\[.*?\]`, whose `.` doesn't match a line break.
    while let Some((before, after)) = rest.split_once('[') {
        kept.push_str(before);
        let line = after.split('\n').next().unwrap_or_default();
        if let Some(end) = line.find(']') {
            rest = &after[end + 1..];
        } else {
            kept.push('[');
            rest = after;
        }
    }
    kept.push_str(rest);
    kept.replace("  ", " ")
}

fn winogrande(record: &Value) -> Result<Vec<(&'static str, Value)>, String> {
    let sentence = text(record, "sentence")?;
    let (before, after) = sentence.split_once('_').ok_or("`sentence` has no gap `_`")?;
    Ok(vec![("before", before.into()), ("after", after.trim_matches(is_python_space).into())])
}

/// `wikitext_detokenizer`. Its rule for `/' [0-9]/` matches nothing, because the slashes are part of it.
pub(crate) fn detokenized(page: &str) -> String {
    let replace = |text: String, rules: &[(&str, &str)]| {
        rules.iter().fold(text, |text, (from, to)| text.replace(from, to))
    };
    let text = replace(
        page.to_owned(),
        &[
            ("s '", "s'"),
            (" @-@ ", "-"),
            (" @,@ ", ","),
            (" @.@ ", "."),
            (" : ", ": "),
            (" ; ", "; "),
            (" . ", ". "),
            (" ! ", "! "),
            (" ? ", "? "),
            (" , ", ", "),
        ],
    );
    let pairs = [('(', ')'), ('[', ']'), ('{', '}'), ('"', '"'), ('\'', '\'')];
    let text = pairs.into_iter().fold(text, |text, (open, close)| trimmed_inside(&text, open, close));
    replace(
        text,
        &[
            ("= = = =", "===="),
            ("= = =", "==="),
            ("= =", "=="),
            (" \u{b0} ", "\u{b0}"),
            (" \n", "\n"),
            ("\n ", "\n"),
            (" N ", " 1 "),
            (" 's", "'s"),
        ],
    )
}

/// Strips whitespace inside each pair of brackets: `\(\s*([^\)]*?)\s*\)` to `(\1)`.
fn trimmed_inside(text: &str, open: char, close: char) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(open)
        && let Some((inside, after)) = after.split_once(close)
    {
        result.push_str(before);
        result.push(open);
        result.push_str(inside.trim_matches(is_python_space));
        result.push(close);
        rest = after;
    }
    result + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn hellaswag_loses_its_marks() {
        let record = json!({
            "activity_label": "Roof", "ctx_a": "[header] How to [title] Go up [step] a  b",
            "ctx_b": "THEN he",
            "endings": [" [substeps] up.", "down [title] x [y\nz]", "[open"],
        });
        let record = Preprocess::Hellaswag.apply(record).unwrap();
        assert_eq!(record["query"], "Roof: How to. Go up a b Then he");
        assert_eq!(record["choices"], json!([" up.", "down. x [y\nz]", "[open"]));
        assert_eq!(capitalized("éTÉ 猫"), "Été 猫");
        assert_eq!(capitalized(""), "");
        assert!(Preprocess::Hellaswag.apply(json!({"ctx_a": ""})).unwrap_err().contains("activity_label"));
    }

    #[test]
    fn winogrande_is_cut_at_its_gap() {
        let record =
            Preprocess::Winogrande.apply(json!({"sentence": "Ann met Bea so _ was glad ."})).unwrap();
        assert_eq!((&record["before"], &record["after"]), (&json!("Ann met Bea so "), &json!("was glad .")));
        assert!(Preprocess::Winogrande.apply(json!({"sentence": "no gap"})).unwrap_err().contains("no gap"));
    }

    #[test]
    fn wikitext_loses_its_tokenizers_spaces() {
        let page = " = Gold = \n\n The 1 @,@ 5 @-@ km road ( A 1 ) , \" new \" ; it 's 20 \u{b0} C . \n = = \
            Old = = \n [ x";
        let expected = "= Gold =\n\nThe 1,5-km road (A 1), \"new\"; it's 20\u{b0}C.\n== Old ==\n[ x";
        assert_eq!(detokenized(page).trim_start(), expected);
    }
}
