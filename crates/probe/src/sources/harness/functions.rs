//! Built-in versions of the Python functions that task files of lm-evaluation-harness refer to (`!function
//! module.name`). Each is identified by the directory of its file and its name, and does what
//! `lm_eval/tasks/DIRECTORY/MODULE.py` of version 0.4.13 does.

use fancy_regex::Regex;
use serde_json::{Value, json};

use crate::error::ProbeError;
use crate::prompts::preprocess::{Preprocess, detokenized};
use crate::prompts::template::{field, scalar};
use crate::sources::harness::yaml::{YamlData, YamlNode};
use crate::text::math::boxed;
use crate::text::python;
use crate::text::whitespace::is_python_space;
use fineline_diagnostics::nearest_in_parentheses;

/// A function in a task's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PythonFunction {
    /// From a record to the record that templates see.
    Records(RecordFunction),
    /// From a record to its text, target or choices.
    Field(FieldFunction),
    /// From responses to metrics.
    Results(ResultFunction),
    /// A metric.
    Metric(MetricFunction),
    /// A filter of generated answers.
    Filter(FilterFunction),
    /// The few-shot examples of MBPP: task ids 2, 3 and 4 of the split `prompt`.
    MbppSamples,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordFunction {
    Hellaswag,
    /// Sets `answer` to the content of the solution's last box.
    Math,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldFunction {
    WinograndeText,
    WinograndeTarget,
    WinograndeChoices,
    RaceText,
    RaceTarget,
    RaceChoices,
    CopaText,
    CopaTarget,
    CopaChoices,
    WscText,
    WikitextTarget,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResultFunction {
    /// Counts bytes and words in the page before detokenization.
    Wikitext,
    /// Total probability of the correct choices.
    TruthfulqaSeveral,
    /// Equivalence of formulas.
    Math,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MetricFunction {
    /// Fraction of programs that pass.
    Passes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FilterFunction {
    /// Puts the prompt before the answer.
    HumanevalProgram,
}

/// Directory, function, meaning.
const BUILT_IN: [(&str, &str, PythonFunction); 20] = {
    use FieldFunction as F;
    use PythonFunction as U;
    [
        ("hellaswag", "utils.process_docs", U::Records(RecordFunction::Hellaswag)),
        ("hendrycks_math", "utils.process_docs", U::Records(RecordFunction::Math)),
        ("winogrande", "preprocess_winogrande.doc_to_text", U::Field(F::WinograndeText)),
        ("winogrande", "preprocess_winogrande.doc_to_target", U::Field(F::WinograndeTarget)),
        ("winogrande", "preprocess_winogrande.doc_to_choice", U::Field(F::WinograndeChoices)),
        ("race", "preprocess_race.doc_to_text", U::Field(F::RaceText)),
        ("race", "preprocess_race.doc_to_target", U::Field(F::RaceTarget)),
        ("race", "preprocess_race.doc_to_choice", U::Field(F::RaceChoices)),
        ("copa", "utils.doc_to_text", U::Field(F::CopaText)),
        ("copa", "utils.doc_to_target", U::Field(F::CopaTarget)),
        ("copa", "utils.doc_to_choice", U::Field(F::CopaChoices)),
        ("wsc", "preprocess_wsc.default_doc_to_text", U::Field(F::WscText)),
        ("wikitext", "preprocess_wikitext.wikitext_detokenizer", U::Field(F::WikitextTarget)),
        ("wikitext", "preprocess_wikitext.process_results", U::Results(ResultFunction::Wikitext)),
        ("truthfulqa", "utils.process_results_mc2", U::Results(ResultFunction::TruthfulqaSeveral)),
        ("hendrycks_math", "utils.process_results", U::Results(ResultFunction::Math)),
        ("humaneval", "utils.pass_at_k", U::Metric(MetricFunction::Passes)),
        ("humaneval", "utils.build_predictions", U::Filter(FilterFunction::HumanevalProgram)),
        ("mbpp", "utils.pass_at_1", U::Metric(MetricFunction::Passes)),
        ("mbpp", "utils.list_fewshot_samples", U::MbppSamples),
    ]
};

impl PythonFunction {
    /// The function named by `node`, the value of `key`. `None` if it is not a function.
    pub(super) fn of(node: &YamlNode, key: &str) -> Result<Option<Self>, ProbeError> {
        let YamlData::Function(name) = &node.data else { return Ok(None) };
        let dir =
            node.position.path.parent().and_then(|dir| dir.file_name()).unwrap_or_default().to_string_lossy();
        let found = BUILT_IN.iter().find(|(family, function, _)| *family == dir && function == name);
        found.map(|(_, _, function)| Some(*function)).ok_or_else(|| {
            let of_dir =
                BUILT_IN.iter().filter(|(family, ..)| *family == dir).map(|(_, function, _)| *function);
            let hint = nearest_in_parentheses(name, of_dir);
            node.position.wrong(format!(
                "`{key}`: the Python function `{name}` of `{dir}` is not built in{hint}; replace it by a \
                 template, or write the task in TOML"
            ))
        })
    }
}

impl RecordFunction {
    pub(super) fn apply(self, mut record: Value) -> Result<Value, String> {
        match self {
            Self::Hellaswag => {
                let gold = text(&record, "label")?.trim().parse::<i64>();
                let mut record = Preprocess::Hellaswag.apply(record)?;
                record["gold"] = gold.map_err(|_| "`label` is not a number".to_owned())?.into();
                Ok(record)
            }
            Self::Math => {
                let solution = text(&record, "solution")?;
                record["answer"] = boxed(&solution).ok_or("`solution` has no `\\boxed{}`")?.into();
                Ok(record)
            }
        }
    }
}

impl FieldFunction {
    pub(super) fn apply(self, record: &Value) -> Result<Value, String> {
        Ok(match self {
            Self::WinograndeText => match text(record, "answer")?.as_str() {
                "1" => json!(0),
                "2" => json!(1),
                other => return Err(format!("`answer` is {other:?}, expected \"1\" or \"2\"")),
            },
            Self::WinograndeTarget => gap(record)?.1.trim_matches(is_python_space).into(),
            Self::WinograndeChoices => {
                let (before, _) = gap(record)?;
                json!([before.clone() + &text(record, "option1")?, before + &text(record, "option2")?])
            }
            Self::RaceText => race_text(record)?.into(),
            Self::RaceTarget => race_gold(last(&race_problems(record)?)?)?.into(),
            Self::RaceChoices => json!(race_options(last(&race_problems(record)?)?)?),
            Self::CopaText => copa_text(record)?.into(),
            Self::CopaTarget => {
                copa_choice(record, if field(record, "label")? == 0 { "choice1" } else { "choice2" })?.into()
            }
            Self::CopaChoices => json!([copa_choice(record, "choice1")?, copa_choice(record, "choice2")?]),
            Self::WscText => wsc_text(record)?.into(),
            Self::WikitextTarget => detokenized(&text(record, "page")?).into(),
        })
    }
}

fn text(record: &Value, path: &str) -> Result<String, String> {
    scalar(field(record, path)?, path)
}

/// The text before and after the gap of a sentence.
fn gap(record: &Value) -> Result<(String, String), String> {
    let sentence = text(record, "sentence")?;
    let (before, after) = sentence.split_once('_').ok_or("`sentence` has no gap `_`")?;
    Ok((before.to_owned(), after.to_owned()))
}

fn race_problems(record: &Value) -> Result<Vec<Value>, String> {
    match python::literal(&text(record, "problems")?) {
        Some(Value::Array(problems)) if !problems.is_empty() => Ok(problems),
        _ => Err("`problems` is not a list in Python syntax".to_owned()),
    }
}

fn last(problems: &[Value]) -> Result<&Value, String> {
    problems.last().ok_or_else(|| "`problems` is empty".to_owned())
}

fn race_gold(problem: &Value) -> Result<usize, String> {
    let answer = text(problem, "answer")?;
    ["A", "B", "C", "D"]
        .iter()
        .position(|letter| *letter == answer)
        .ok_or_else(|| format!("`answer` is {answer:?}, expected A, B, C or D"))
}

fn race_options(problem: &Value) -> Result<Vec<String>, String> {
    (0..4).map(|option| text(problem, &format!("options.{option}"))).collect()
}

/// The article, its questions with their answers, and the last question without an answer.
fn race_text(record: &Value) -> Result<String, String> {
    let problems = race_problems(record)?;
    let mut whole = format!("Article: {}\n\n", text(record, "article")?);
    for problem in &problems[..problems.len() - 1] {
        let question = text(problem, "question")?;
        let answer = &race_options(problem)?[race_gold(problem)?];
        match question.strip_suffix("  _  .") {
            Some(before) => whole.extend([before, " ", answer, "\n"]),
            None => whole.extend(["Question: ", &question, "\nAnswer: ", answer, "\n"]),
        }
    }
    Ok(whole + &text(last(&problems)?, "question")?)
}

fn copa_text(record: &Value) -> Result<String, String> {
    let connector = match text(record, "question")?.as_str() {
        "cause" => "because",
        "effect" => "therefore",
        other => return Err(format!("`question` is {other:?}, expected \"cause\" or \"effect\"")),
    };
    let premise = text(record, "premise")?;
    let mut premise = premise.trim_matches(is_python_space).chars();
    premise.next_back();
    Ok(format!("{} {connector}", premise.as_str()))
}

fn copa_choice(record: &Value, path: &str) -> Result<String, String> {
    let choice = text(record, path)?;
    let mut chars = choice.chars();
    let first = chars.next().ok_or_else(|| format!("`{path}` is empty"))?;
    Ok(format!(" {}{}", first.to_lowercase(), chars.as_str()))
}

fn wsc_text(record: &Value) -> Result<String, String> {
    let passage = text(record, "text")?;
    let (noun, pronoun) = (text(record, "span1_text")?, text(record, "span2_text")?);
    let index = field(record, "span2_index")?.as_u64().ok_or("`span2_index` is not a number")? as usize;
    let words = passage.split(is_python_space).filter(|word| !word.is_empty()).take(index);
    let before = words.collect::<Vec<_>>().join(" ");
    let after: String = passage.chars().skip(before.chars().count() + pronoun.chars().count() + 1).collect();
    let passage = without_token_spaces(&format!("{before} *{pronoun}*{after}"))?;
    Ok(format!(
        "Passage: {passage}\nQuestion: In the passage above, does the pronoun \"*{pronoun}*\" refer \
         to \"*{noun}*\"?\nAnswer:"
    ))
}

/// `general_detokenize` of `lm_eval/utils.py`.
fn without_token_spaces(text: &str) -> Result<String, String> {
    let rules = [(" n't", "n't"), (" )", ")"), ("( ", "("), ("\" ", "\""), (" \"", "\"")];
    let text = rules.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
    let marks = Regex::new(r" (['.,])").map_err(|error| error.to_string())?;
    Ok(marks.replace_all(&text, "$1").into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(function: FieldFunction, record: &Value) -> Value {
        function.apply(record).unwrap()
    }

    /// Results of the functions of lm-evaluation-harness 0.4.13.
    #[test]
    fn functions_do_what_python_does() {
        use FieldFunction as F;
        let race = json!({"article": "It rained.", "problems": "[{'question': 'What fell  _  .', 'answer': \
            'B', 'options': ['a', 'rain', 'c', 'd']}, {'question': 'Why?', 'answer': 'A', 'options': ['e', \
                'f', 'g', 'h']}, {'question': 'Who?', 'answer': 'D', 'options': ['i', 'j', 'k', \"l's\"]}]"});
        assert_eq!(
            apply(F::RaceText, &race),
            "Article: It rained.\n\nWhat fell rain\nQuestion: Why?\nAnswer: e\nWho?"
        );
        assert_eq!(
            (apply(F::RaceTarget, &race), apply(F::RaceChoices, &race)),
            (json!(3), json!(["i", "j", "k", "l's"]))
        );
        let copa = json!({"premise": " The man fell. ", "question": "cause", "choice1": "He Tripped.",
            "choice2": "Él flew.", "label": 1});
        assert_eq!(apply(F::CopaText, &copa), "The man fell because");
        assert_eq!(
            (apply(F::CopaTarget, &copa), apply(F::CopaChoices, &copa)),
            (json!(" él flew."), json!([" he Tripped.", " él flew."]))
        );
        let wsc = json!({"text": "Ann said ( to Bo ) she did n't know .", "span1_text": "Ann",
            "span2_text": "she", "span2_index": 6});
        let expected = "Passage: Ann said (to Bo) *she* didn't know.\nQuestion: In the passage above, does \
            the pronoun \"*she*\" refer to \"*Ann*\"?\nAnswer:";
        assert_eq!(apply(F::WscText, &wsc), expected);
        let math = RecordFunction::Math.apply(json!({"solution": "so $\\boxed{\\frac{1}{2}}$."})).unwrap();
        assert_eq!(math["answer"], "\\frac{1}{2}");
    }

    #[test]
    fn what_they_need_is_named() {
        assert!(
            FieldFunction::RaceText
                .apply(&json!({"article": "", "problems": "x"}))
                .unwrap_err()
                .contains("`problems` is not a list")
        );
        assert!(
            FieldFunction::CopaText
                .apply(&json!({"question": "why"}))
                .unwrap_err()
                .contains("expected \"cause\" or")
        );
        assert!(
            FieldFunction::WinograndeText
                .apply(&json!({"answer": ""}))
                .unwrap_err()
                .contains("expected \"1\" or")
        );
        assert!(RecordFunction::Math.apply(json!({"solution": "1"})).unwrap_err().contains("boxed"));
    }
}
