//! Mapping of a record to an item, as defined in a task file.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::error::ProbeError;
use crate::prompts::template::{Template, field, scalar};
use crate::records::read::read_records;
use crate::records::record::Record;
use crate::sources::task_file::schema::{Choices, Labels, Names, ProgramTable, Prompts, TaskFile};
use crate::tasks::generation_rules::TestProgram;
use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;
use crate::tasks::task::TARGET_DELIMITER;

/// Mapping of a record to an item: a [`TaskFile`] with its templates parsed.
pub(super) struct RecordMapping<'a> {
    pub(super) file: &'a TaskFile,
    keep: Option<Template>,
    description: Template,
    context: Template,
    /// Empty if the choices are a field.
    choices: Vec<Template>,
    continuation: Option<Template>,
    original: Option<Template>,
    /// Empty if the accepted answers are a field.
    answers: Vec<Template>,
    solution: Option<Template>,
    program: Option<[Template; 2]>,
    /// The texts of `[prompts]`, by the value of their field.
    pub(super) prompts: BTreeMap<String, String>,
}

impl<'a> RecordMapping<'a> {
    /// Parses the templates. On failure, the invalid key and the reason.
    pub(super) fn new(file: &'a TaskFile) -> Result<Self, (&'static str, String)> {
        let has_choices = file.kind.has_choices();
        let choices = match &file.choices {
            Choices::Field(_) if !has_choices && !file.kind.is_written() => {
                return Err((
                    "choices",
                    format!("a {} task has one choice: [\"{{{{field}}}}\"]", file.kind.name()),
                ));
            }
            Choices::Field(_) => Vec::new(),
            Choices::Templates(templates) => templates
                .iter()
                .map(|text| Template::parse(text))
                .collect::<Result<_, _>>()
                .map_err(|e| ("choices", e))?,
        };
        if file.kind == TaskKind::InContext {
            let message = "in_context tasks can't be defined in files: use the built-in suite";
            return Err(("kind", message.to_owned()));
        }
        if has_choices && file.gold.is_none() && file.right.is_none() {
            return Err(("gold", "missing: expected the field with the correct choice".into()));
        }
        if file.gold.is_some() && file.right.is_some() {
            return Err(("right", "expected either `gold` or `right`, not both".into()));
        }
        if file.right.is_some() && file.kind != TaskKind::MultipleChoice {
            return Err(("right", "only a multiple_choice task can have several correct choices".into()));
        }
        if file.original.is_some() && file.kind != TaskKind::Perplexity {
            return Err(("original", "only for perplexity tasks".into()));
        }
        let parse = |key, text: &str| Template::parse(text).map_err(|message| (key, message));
        let parse_optional =
            |key, text: &Option<String>| text.as_ref().map(|text| parse(key, text)).transpose();
        Ok(Self {
            file,
            keep: parse_optional("keep", &file.keep)?,
            description: parse("description", &file.description)?,
            context: parse("context", &file.context)?,
            choices,
            continuation: parse_optional("continuation", &file.continuation)?,
            original: parse_optional("original", &file.original)?,
            answers: match &file.answers {
                Some(Choices::Templates(templates)) => {
                    templates.iter().map(|text| parse("answers", text)).collect::<Result<_, _>>()?
                }
                _ => Vec::new(),
            },
            solution: parse_optional("solution", &file.solution)?,
            program: match &file.program {
                Some(ProgramTable { before, tests }) => {
                    Some([parse("program.before", before)?, parse("program.tests", tests)?])
                }
                None => None,
            },
            prompts: BTreeMap::new(),
        })
    }

    /// The records of a file for which `keep` is true.
    pub(super) fn records(&self, path: &Path) -> Result<Vec<Record>, ProbeError> {
        let mut records = read_records(path)?;
        let Some(keep) = &self.keep else { return Ok(records) };
        let mut kept = Vec::with_capacity(records.len());
        for (number, record) in records.drain(..).enumerate() {
            match keep.render(&record.value).map_err(|message| record.wrong(number, message))?.as_str() {
                "True" => kept.push(record),
                "False" => {}
                other => {
                    let message = format!("`keep` is {other:?}, expected `True` or `False`");
                    return Err(record.wrong(number, message));
                }
            }
        }
        Ok(kept)
    }

    pub(super) fn id(&self, record: &Value) -> Result<Option<String>, String> {
        optional(record, self.file.id.as_ref())
    }

    /// Adds the fields of `preprocess`, `names` and `prompts` to a record.
    pub(super) fn prepare(&self, record: Value) -> Result<Value, String> {
        let mut record = match self.file.preprocess {
            Some(preprocess) => preprocess.apply(record)?,
            None => record,
        };
        if let Some(Names { field: path, of }) = &self.file.names {
            let key = scalar(field(&record, path)?, path)?;
            let name = of
                .get(&key)
                .ok_or_else(|| format!("`{path}` is {key:?}, for which `names.of` has no name"))?;
            record["name"] = Value::from(name.as_str());
        }
        if let Some(Prompts { field: path, .. }) = &self.file.prompts {
            let key = scalar(field(&record, path)?, path)?;
            let prompt = self.prompts.get(&key);
            let prompt =
                prompt.ok_or_else(|| format!("`{path}` is {key:?}, for which there is no prompt"))?;
            record["prompt"] = Value::from(prompt.as_str());
        }
        Ok(record)
    }

    /// The item of a prepared record, after `examples`.
    pub(super) fn item(&self, record: &Value, examples: &str) -> Result<Item, String> {
        let question = self.question(record)?;
        let cluster = optional(record, self.file.cluster.as_ref())?;
        let context = format!("{}{examples}{}", self.description.render(record)?, question.context);
        Ok(Item { context, cluster, ..question })
    }

    /// The item without description and examples.
    pub(super) fn question(&self, record: &Value) -> Result<Item, String> {
        let choices = match &self.file.choices {
            Choices::Field(path) => texts(record, path)?,
            Choices::Templates(_) => {
                self.choices.iter().map(|template| template.render(record)).collect::<Result<_, _>>()?
            }
        };
        let mut right = match (&self.file.gold, &self.file.right) {
            (Some(path), _) => vec![self.gold(record, path)?],
            (None, Some(path)) => right_choices(record, path)?,
            (None, None) => vec![0],
        };
        let gold = right.remove(0);
        let answers = match &self.file.answers {
            Some(Choices::Field(path)) => one_or_more(record, path)?,
            _ => self.answers.iter().map(|template| template.render(record)).collect::<Result<_, _>>()?,
        };
        let program = match &self.program {
            Some([before, tests]) => {
                Some(TestProgram { before: before.render(record)?, tests: tests.render(record)? })
            }
            None => None,
        };
        let render = |template: &Option<Template>| template.as_ref().map(|t| t.render(record)).transpose();
        Ok(Item {
            context: self.context.render(record)?,
            choices,
            continuation: render(&self.continuation)?,
            original: render(&self.original)?,
            questions: Vec::new(),
            gold,
            other_gold: right,
            answers,
            program,
            ..Item::default()
        })
    }

    /// The text that follows the question in an example of a task with generated answers: the solution, or
    /// the first accepted answer.
    pub(super) fn solution(&self, record: &Value) -> Result<Option<String>, String> {
        match &self.solution {
            Some(solution) => solution.render(record).map(Some),
            None if self.file.kind == TaskKind::Generation => {
                Ok(self.question(record)?.answers.into_iter().next())
            }
            None if self.file.kind == TaskKind::Code => {
                Err("examples of code tasks require a `solution`".to_owned())
            }
            None => Ok(None),
        }
    }

    pub(super) fn target_delimiter(&self) -> &str {
        self.file.target_delimiter.as_deref().unwrap_or(TARGET_DELIMITER)
    }

    /// Index of the correct choice: a number (also as text), false and true for 0 and 1, or one of the
    /// `labels`.
    fn gold(&self, record: &Value, path: &str) -> Result<usize, String> {
        let value = field(record, path)?;
        let index = match (value, &self.file.labels) {
            (Value::Bool(second), None) => Some(usize::from(*second)),
            (value, None) => scalar(value, path)?.parse().ok(),
            (value, Some(labels)) => {
                let label = scalar(value, path)?;
                labels.of(record)?.iter().position(|other| *other == label)
            }
        };
        let expected = match &self.file.labels {
            None => "the index of a choice".to_owned(),
            Some(Labels::Field(path)) => format!("one of `{path}`"),
            Some(Labels::List(labels)) => format!("one of {}", labels.join(", ")),
        };
        index.ok_or_else(|| format!("gold `{path}` is {value}, expected {expected}"))
    }
}

impl Labels {
    fn of(&self, record: &Value) -> Result<Vec<String>, String> {
        match self {
            Self::Field(path) => texts(record, path),
            Self::List(labels) => Ok(labels.clone()),
        }
    }
}

/// The text of an optional field.
fn optional(record: &Value, path: Option<&String>) -> Result<Option<String>, String> {
    path.map(|path| scalar(field(record, path)?, path)).transpose()
}

/// The indices at which a list is true or 1. At least one.
fn right_choices(record: &Value, path: &str) -> Result<Vec<usize>, String> {
    let Value::Array(labels) = field(record, path)? else { return Err(format!("`{path}` is not a list")) };
    let is_right = |label: &Value| label.as_bool().unwrap_or_else(|| label.as_u64() == Some(1));
    let right: Vec<usize> = (0..labels.len()).filter(|index| is_right(&labels[*index])).collect();
    if right.is_empty() {
        return Err(format!("`{path}` marks no choice as correct: expected at least one 1"));
    }
    Ok(right)
}

/// A list of texts, or a single text.
fn one_or_more(record: &Value, path: &str) -> Result<Vec<String>, String> {
    match field(record, path)? {
        Value::Array(_) => texts(record, path),
        value => Ok(vec![scalar(value, path)?]),
    }
}

/// A list of texts.
fn texts(record: &Value, path: &str) -> Result<Vec<String>, String> {
    let Value::Array(list) = field(record, path)? else { return Err(format!("`{path}` is not a list")) };
    list.iter().map(|value| scalar(value, path)).collect()
}
