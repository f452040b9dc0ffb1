//! Builds a [`Task`] from a task's keys and its records (`ConfigurableTask` of `lm_eval/api/task.py`).

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::ProbeError;
use crate::prompts::fewshot_draws::{FewshotDraws, SEED};
use crate::prompts::template::field;
use crate::records::record::Record;
use crate::sources::harness::config::{
    DatasetSplit, ExamplePool, HarnessSampler, OutputType, PromptForm, TaskConfig,
};
use crate::sources::harness::functions::{RecordFunction, ResultFunction};
use crate::tasks::generation_rules::TestProgram;
use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;
use crate::tasks::task::Task;
use crate::text::python;
use crate::text::whitespace::is_python_space;

/// Builds the task with all its items.
pub(super) fn task(config: &TaskConfig, data_dirs: &[PathBuf]) -> Result<Task, ProbeError> {
    let kind = config.kind()?;
    config.warn_of_metrics();
    let written = (config.output == OutputType::GenerateUntil).then(|| config.rules()).transpose()?;
    let questions = processed(config.dataset.records(&config.split, data_dirs)?, config.process)?;
    let pool = pool(config, data_dirs)?;
    let builder =
        ItemBuilder::new(config, &questions, written.as_ref().is_some_and(|(_, has_prompt)| *has_prompt))?;
    let items = builder.items(&questions, &pool)?;
    let chance = items.iter().map(Item::chance).sum::<f64>() / items.len() as f64;
    Ok(Task {
        name: config.name.clone(),
        domain: config.tag.clone().unwrap_or_else(|| "lm-evaluation-harness".to_owned()),
        kind,
        shots: config.shots,
        chance: kind.has_choices().then_some(chance),
        signal: None,
        source: Some(config.dataset.path.clone()),
        licence: None,
        version: config.version.clone(),
        unconditional: config.is_unconditional().then(String::new),
        target_delimiter: match config.output {
            // Its target is scored without a delimiter.
            OutputType::LogLikelihood => String::new(),
            _ => config.form.target_delimiter.clone(),
        },
        generation: written.map(|(rules, _)| rules),
        template: builder.written(),
        items,
    })
}

/// The records after `process_docs`, as templates see them.
fn processed(records: Vec<Record>, process: Option<RecordFunction>) -> Result<Vec<Record>, ProbeError> {
    let Some(process) = process else { return Ok(records) };
    let apply = |(item, record): (usize, Record)| {
        let value = process.apply(record.value.clone()).map_err(|message| record.wrong(item, message))?;
        Ok(Record { value, ..record })
    };
    records.into_iter().enumerate().map(apply).collect()
}

/// The pool of few-shot examples. Empty if there are no examples.
fn pool(config: &TaskConfig, data_dirs: &[PathBuf]) -> Result<Vec<Value>, ProbeError> {
    if config.shots == 0 {
        return Ok(Vec::new());
    }
    let of_split = |split: &DatasetSplit, process| -> Result<Vec<Value>, ProbeError> {
        let records = processed(config.dataset.records(split, data_dirs)?, process)?;
        Ok(records.into_iter().map(|record| record.value).collect())
    };
    match &config.examples.pool {
        ExamplePool::Samples(samples) => Ok(samples.clone()),
        ExamplePool::Split(split) => of_split(split, config.examples.process),
        ExamplePool::MbppSamples(position) => {
            let split = DatasetSplit { name: "prompt".to_owned(), position: position.clone() };
            let mut samples = of_split(&split, None)?;
            samples.retain(|sample| (2..=4).contains(&sample["task_id"].as_u64().unwrap_or_default()));
            for sample in &mut samples {
                sample["is_fewshot"] = Value::from(true);
            }
            Ok(samples)
        }
    }
}

/// Builds items from records.
struct ItemBuilder<'a> {
    config: &'a TaskConfig,
    /// Names of the fields of the questions.
    fields: BTreeSet<String>,
    /// Whether the choices are contexts that the target follows.
    has_contexts: bool,
    /// Whether a generated program is preceded by the prompt when it is run.
    has_prompt: bool,
}

impl<'a> ItemBuilder<'a> {
    fn new(config: &'a TaskConfig, questions: &[Record], has_prompt: bool) -> Result<Self, ProbeError> {
        let fields = questions
            .iter()
            .filter_map(|record| record.value.as_object())
            .flat_map(|fields| fields.keys().cloned())
            .collect();
        let mut builder = Self { config, fields, has_contexts: false, has_prompt };
        let first = &questions[0];
        let text = builder.text(&config.form, &first.value).map_err(|message| first.wrong(0, message))?;
        builder.has_contexts = config.form.choices.is_some() && text.is_u64();
        Ok(builder)
    }

    /// The rules by which texts are made, as one text.
    fn written(&self) -> String {
        let of_form = |form: &PromptForm| {
            let sources = [&form.text, &form.target, &form.choices, &form.prefix];
            let sources = sources
                .map(|source| source.as_ref().map(crate::sources::harness::fields::FieldSource::written));
            format!("{sources:?} {:?} {:?}", form.target_delimiter, form.example_delimiter)
        };
        let TaskConfig { description, process, results, examples, shots, .. } = self.config;
        let description = description.as_ref().map(crate::sources::harness::fields::FieldSource::written);
        format!(
            "{description:?} {process:?} {results:?} {shots} {:?} {} {}",
            examples.sampler,
            of_form(&self.config.form),
            of_form(&examples.form)
        )
    }

    fn items(&self, questions: &[Record], pool: &[Value]) -> Result<Vec<Item>, ProbeError> {
        let mut draws = FewshotDraws::new(SEED);
        let solved: Vec<OnceCell<Result<String, String>>> = vec![OnceCell::new(); pool.len()];
        let mut item = |record: &Value| {
            let mut before = String::new();
            for index in self.examples(record, pool, &mut draws)? {
                let text = solved[index].get_or_init(|| self.solved(&pool[index]));
                before.push_str(text.as_ref().map_err(|message| format!("example {index}: {message}"))?);
            }
            self.item(record, &before)
        };
        let read = |(index, record): (usize, &Record)| {
            item(&record.value).map_err(|message| record.wrong(index, message))
        };
        questions.iter().enumerate().map(read).collect()
    }

    /// Indices in the pool of the examples before the question `record`.
    fn examples(
        &self,
        record: &Value,
        pool: &[Value],
        draws: &mut FewshotDraws,
    ) -> Result<Vec<usize>, String> {
        let TaskConfig { examples, shots, .. } = self.config;
        let is_question = |index: usize| pool[index] == *record;
        let is_question: Option<&dyn Fn(usize) -> bool> =
            if examples.spares_question { Some(&is_question) } else { None };
        let chosen = match examples.sampler {
            _ if *shots == 0 => return Ok(Vec::new()),
            HarnessSampler::Default => draws.next(pool.len(), *shots, is_question),
            HarnessSampler::FirstN => {
                let is_other = |index: &usize| is_question.is_none_or(|is_question| !is_question(*index));
                let first: Vec<usize> = (0..pool.len()).filter(is_other).take(*shots).collect();
                if first.len() == *shots { Ok(first) } else { Err(first.len()) }
            }
        };
        chosen.map_err(|found| {
            let others = if is_question.is_some() { " in addition to the question" } else { "" };
            format!("expected {shots} examples{others}, found {found}")
        })
    }

    fn text(&self, form: &PromptForm, record: &Value) -> Result<Value, String> {
        match &form.text {
            Some(text) => text.text(record, &self.fields, form.choices.is_some()),
            None if self.config.output == OutputType::Rolling => Ok(Value::from("")),
            None => Err("`doc_to_text`: missing".to_owned()),
        }
    }

    fn target(&self, form: &PromptForm, record: &Value) -> Result<Value, String> {
        let target = form.target.as_ref().ok_or("`doc_to_target`: missing")?;
        target.target(record, &self.fields, form.choices.is_some())
    }

    fn choices(&self, form: &PromptForm, record: &Value) -> Result<Option<Vec<String>>, String> {
        form.choices.as_ref().map(|choices| choices.choices(record, &self.fields)).transpose()
    }

    fn prefix(&self, form: &PromptForm, record: &Value) -> Result<String, String> {
        form.prefix.as_ref().map_or(Ok(String::new()), |prefix| prefix.plain(record, &self.fields))
    }

    /// Question and answer of an example, with the separator after it (`build_qa_turn`).
    fn solved(&self, record: &Value) -> Result<String, String> {
        let form = &self.config.examples.form;
        let (text, choices, target) =
            (self.text(form, record)?, self.choices(form, record)?, self.target(form, record)?);
        let (question, choices) = match choices {
            Some(mut choices) if self.has_contexts => {
                (choices.swap_remove(choice_of(&text, &choices)?), None)
            }
            choices => (string(&text, "doc_to_text")?, choices),
        };
        let prefix = self.prefix(form, record)?;
        if target == "" {
            return Ok(question.clone() + &self.prefixed(&question, &prefix));
        }
        let answer = match (&target, choices) {
            (Value::Number(_) | Value::Bool(_), Some(mut choices)) => {
                choices.swap_remove(choice_of(&target, &choices)?)
            }
            (Value::Array(targets), _) => string(targets.first().unwrap_or(&Value::Null), "doc_to_target")?,
            (target, _) => string(target, "doc_to_target")?,
        };
        let delimiter = if prefix.is_empty() || needs_space(&question, &prefix) {
            form.target_delimiter.as_str()
        } else {
            ""
        };
        let space = if needs_space(&prefix, &answer) { " " } else { "" };
        Ok(format!("{question}{delimiter}{prefix}{space}{answer}{}", form.example_delimiter))
    }

    /// The beginning of the answer to a question, after the delimiter.
    fn prefixed(&self, question: &str, prefix: &str) -> String {
        let delimiter =
            if needs_space(question, prefix) { self.config.form.target_delimiter.as_str() } else { "" };
        format!("{delimiter}{prefix}")
    }

    fn item(&self, record: &Value, before: &str) -> Result<Item, String> {
        let form = &self.config.form;
        if self.config.output == OutputType::Rolling {
            let original = (self.config.results == Some(ResultFunction::Wikitext))
                .then(|| string(field(record, "page")?, "page"))
                .transpose()?;
            return Ok(Item {
                choices: vec![python::text(&self.target(form, record)?)],
                original,
                ..Item::default()
            });
        }
        let (text, target, prefix) =
            (self.text(form, record)?, self.target(form, record)?, self.prefix(form, record)?);
        let choices = self.choices(form, record)?;
        let description = self
            .config
            .description
            .as_ref()
            .map_or(Ok(String::new()), |source| source.plain(record, &self.fields))?;
        let before = format!("{description}{before}");
        if let (true, Some(choices)) = (self.has_contexts, &choices) {
            let gold = choice_of(&text, choices)?;
            let choices =
                choices.iter().map(|context| context.clone() + &self.prefixed(context, &prefix)).collect();
            return Ok(Item {
                context: before,
                choices,
                continuation: Some(python::text(&target)),
                gold,
                ..Item::default()
            });
        }
        let question = string(&text, "doc_to_text")?;
        let context = format!("{before}{question}{}", self.prefixed(&question, &prefix));
        match self.config.output {
            OutputType::MultipleChoice => {
                self.choice_item(record, context, &target, choices.ok_or("`doc_to_choice`: missing")?)
            }
            OutputType::GenerateUntil => self.written_item(record, context, target, choices),
            OutputType::LogLikelihood | OutputType::Rolling => {
                Ok(Item { context, choices: vec![python::text(&target)], ..Item::default() })
            }
        }
    }

    fn choice_item(
        &self,
        record: &Value,
        context: String,
        target: &Value,
        choices: Vec<String>,
    ) -> Result<Item, String> {
        let mut right = match target {
            Value::Array(targets) => {
                targets.iter().map(|target| choice_of(target, &choices)).collect::<Result<Vec<_>, _>>()?
            }
            target => vec![choice_of(target, &choices)?],
        };
        if self.config.results == Some(ResultFunction::TruthfulqaSeveral) {
            let labels = field(record, "mc2_targets.labels")?
                .as_array()
                .ok_or("`mc2_targets.labels` is not a list")?;
            right = labels
                .iter()
                .enumerate()
                .filter(|(_, label)| **label == 1)
                .map(|(choice, _)| choice)
                .collect();
        }
        if right.is_empty() {
            return Err("`doc_to_target`: no choice is right".to_owned());
        }
        let gold = right.remove(0);
        Ok(Item { context, choices, gold, other_gold: right, ..Item::default() })
    }

    fn written_item(
        &self,
        record: &Value,
        context: String,
        target: Value,
        choices: Option<Vec<String>>,
    ) -> Result<Item, String> {
        let answers = match (target, choices) {
            (target, Some(choices)) => vec![choices[choice_of(&target, &choices)?].clone()],
            (Value::Array(targets), None) => targets.iter().map(python::text).collect(),
            (target, None) => vec![python::text(&target)],
        };
        if self.config.kind().is_ok_and(|kind| kind == TaskKind::Code) {
            let before =
                if self.has_prompt { string(field(record, "prompt")?, "prompt")? } else { String::new() };
            let program = TestProgram { before, tests: answers.join("\n") };
            return Ok(Item { context, program: Some(program), ..Item::default() });
        }
        Ok(Item { context, answers, ..Item::default() })
    }
}

/// Index of the choice that a target refers to: by index, by `True` or `False`, or by its text.
fn choice_of(target: &Value, choices: &[String]) -> Result<usize, String> {
    let index = match target {
        Value::Number(number) => number.as_u64().map(|index| index as usize),
        Value::Bool(second) => Some(usize::from(*second)),
        Value::String(text) => choices.iter().position(|choice| choice == text),
        _ => None,
    };
    index.filter(|index| *index < choices.len()).ok_or_else(|| {
        format!(
            "the right choice is {}, but the choices are {}",
            python::repr(target),
            python::repr(&Value::from(choices))
        )
    })
}

fn string(value: &Value, key: &str) -> Result<String, String> {
    value
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| format!("`{key}` gives {}, expected a text", python::repr(value)))
}

/// Whether neither text has whitespace at the boundary (`requires_delimiter`).
fn needs_space(before: &str, after: &str) -> bool {
    let ends = before.chars().next_back().zip(after.chars().next());
    ends.is_some_and(|(last, first)| !is_python_space(last) && !is_python_space(first))
}
