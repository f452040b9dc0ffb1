//! Tasks from TOML files: where the data is, and how each record becomes an item.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use serde_json::Value;

use crate::ProbeError;
use crate::data::{Record, read_records};
use crate::examples::{Example, Examples, ExamplesTable};
use crate::generation_table::GenerationTable;
use crate::hub::HubSource;
use crate::preprocess::Preprocess;
use crate::request::TARGET_DELIMITER;
use crate::rules::{GenerationRules, Program};
use crate::task::{Item, Kind, Rises, Task};
use crate::template::{Template, field, scalar};

/// A task file, as written. `docs/concepts/probes.md` explains it to those who write one.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskFile {
    name: String,
    domain: String,
    kind: Kind,
    data: PathBuf,
    hub: Option<HubSource>,
    keep: Option<String>,
    preprocess: Option<Preprocess>,
    names: Option<Names>,
    #[serde(default)]
    shots: usize,
    examples: Option<ExamplesTable>,
    chance: Option<f64>,
    rises: Option<Rises>,
    source: Option<String>,
    licence: Option<String>,
    version: Option<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    context: String,
    #[serde(default)]
    choices: Choices,
    answers: Option<Choices>,
    solution: Option<String>,
    target_delimiter: Option<String>,
    program: Option<ProgramTable>,
    prompts: Option<Prompts>,
    generation: Option<GenerationTable>,
    continuation: Option<String>,
    original: Option<String>,
    unconditional: Option<String>,
    gold: Option<String>,
    right: Option<String>,
    labels: Option<Labels>,
    cluster: Option<String>,
    id: Option<String>,
}

/// `[names]`: what `{{name}}` is, by the value of a field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Names {
    field: String,
    of: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the name of a field that holds a list, or a list of templates")]
enum Choices {
    Field(String),
    Templates(Vec<String>),
}

impl Default for Choices {
    fn default() -> Self {
        Self::Templates(Vec::new())
    }
}

/// `[program]`: templates of what makes a program of an answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ProgramTable {
    #[serde(default)]
    before: String,
    tests: String,
}

/// `[prompts]`: what `{{prompt}}` is, a text file by the value of a field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prompts {
    /// The folder of the files, which end in `.txt`.
    data: PathBuf,
    /// The field.
    field: String,
    /// What the text is behind, such as a line that isn't part of it.
    after: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the name of a field that holds a list, or the list itself")]
enum Labels {
    Field(String),
    List(Vec<String>),
}

/// How a record becomes an item; [`TaskFile`]'s mapping with its templates read.
struct Mapping<'a> {
    file: &'a TaskFile,
    keep: Option<Template>,
    description: Template,
    context: Template,
    /// Empty where the choices are a field.
    choices: Vec<Template>,
    continuation: Option<Template>,
    original: Option<Template>,
    /// Empty where the accepted answers are a field.
    answers: Vec<Template>,
    solution: Option<Template>,
    program: Option<[Template; 2]>,
    /// The texts of `[prompts]`, by the value of their field.
    prompts: BTreeMap<String, String>,
}

/// Reads the task at `path`, whose data is beside it or in one of the `data_folders`.
pub(crate) fn read_task(path: &Path, text: &str, data_folders: &[PathBuf]) -> Result<Task, ProbeError> {
    let file: TaskFile = toml::from_str(text)
        .map_err(|source| ProbeError::Toml { path: path.to_owned(), source: source.into() })?;
    let wrong = |key, message| ProbeError::TaskFile { path: path.to_owned(), key, message };
    let mut mapping = Mapping::new(&file).map_err(|(key, message)| wrong(key, message))?;
    let generation = file.rules().map_err(|(key, message)| wrong(key, message))?;
    if file.chance.is_some_and(|chance| !(0.0..1.0).contains(&chance)) {
        return Err(wrong("chance", "expected a share from 0 up to but not including 1".into()));
    }
    let hub = file.hub.as_ref();
    let find = |key, data, split: Option<&String>| {
        let fetched = hub.zip(split).and_then(|(hub, split)| hub.find(split, data_folders));
        find_data(path, data, data_folders)
            .or_else(|message| fetched.ok_or(message))
            .map_err(|message| wrong(key, message))
    };
    if let Some(prompts) = &file.prompts {
        mapping.prompts = prompts.read(&find("prompts.data", &prompts.data, None)?)?;
    }
    let examples_split = hub.and_then(|hub| hub.examples.as_ref());
    let mut examples = match &file.examples {
        Some(table) => {
            let path = find("examples.data", &table.data, examples_split)?;
            let examples = read_examples(&path, table, &mapping)?;
            Some(examples.with_questions(table.data == file.data))
        }
        None => None,
    };
    let path = find("data", &file.data, hub.map(|hub| &hub.split))?;
    let items = read_items(&path, &mapping, examples.as_mut())?;
    let guess = items.iter().map(Item::guess).sum::<f64>() / items.len() as f64;
    let is_choice = file.kind.has_choices() && !items.is_empty();
    Ok(Task {
        chance: file.chance.or(is_choice.then_some(guess)),
        template: file.template(),
        name: file.name,
        domain: file.domain,
        kind: file.kind,
        shots: file.shots,
        rises: file.rises,
        source: file.source,
        licence: file.licence,
        version: file.version,
        unconditional: file.unconditional,
        target_delimiter: file.target_delimiter.unwrap_or_else(|| TARGET_DELIMITER.to_owned()),
        generation,
        items,
    })
}

impl TaskFile {
    /// The rules of generation, where the model writes the answers; otherwise the key at fault and what is wrong there.
    fn rules(&self) -> Result<Option<GenerationRules>, (&'static str, String)> {
        let of_written = [
            ("answers", self.answers.is_some(), self.kind == Kind::Generation),
            ("program", self.program.is_some(), self.kind == Kind::Code),
        ];
        for (key, is_there, is_needed) in of_written {
            if is_there != is_needed {
                let message = if is_there { "not for a" } else { "missing in a" };
                return Err((key, format!("{message} {} task", self.kind.name())));
            }
        }
        let is_generated = self.generation.is_some() || self.solution.is_some();
        match self.kind.is_written() {
            true => self.generation.clone().unwrap_or_default().rules().map(Some),
            false if is_generated => {
                let message = "only where the model writes the answers, kinds `generation` and `code`";
                Err(("generation", message.to_owned()))
            }
            false => Ok(None),
        }
    }

    /// How the texts of the items are made. (What the examples say is in the texts.)
    fn template(&self) -> String {
        let Self { preprocess, names, shots, description, context, choices, continuation, .. } = self;
        let Self { original, unconditional, gold, labels, .. } = self;
        let template = format!(
            "{preprocess:?} {names:?} {shots} {description:?} {context:?} {choices:?} {continuation:?} {original:?} \
             {unconditional:?} {gold:?} {labels:?}"
        );
        let template = match &self.right {
            Some(right) => format!("{template} {right:?}"),
            None => template,
        };
        if !self.kind.is_written() {
            return template;
        }
        let Self { answers, solution, target_delimiter, program, prompts, generation, .. } = self;
        format!(
            "{template} {answers:?} {solution:?} {target_delimiter:?} {program:?} {prompts:?} {generation:?}"
        )
    }
}

/// The first of the places where `data` may be that has it.
fn find_data(task_file: &Path, data: &Path, folders: &[PathBuf]) -> Result<PathBuf, String> {
    let beside = task_file.parent().unwrap_or(Path::new(""));
    let places: Vec<PathBuf> = std::iter::once(beside)
        .chain(folders.iter().map(PathBuf::as_path))
        .map(|folder| folder.join(data))
        .collect();
    places.iter().find(|place| place.exists()).cloned().ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "no such file or folder: looked for {}; the probes' `data` key, or `--data`, can name the folder that has it, and `fineline data fetch` gets what is on the hub",
            places.join(", ")
        )
    })
}

fn read_items(
    path: &Path,
    mapping: &Mapping,
    mut examples: Option<&mut Examples>,
) -> Result<Vec<Item>, ProbeError> {
    let mut ids = BTreeMap::new();
    let mut item = |number: usize, record: &Record| {
        if let Some(id) = mapping.id(&record.value)?
            && let Some(first) = ids.insert(id.clone(), record.line)
        {
            return Err(format!("its id {id:?} is also that of line {first}"));
        }
        let value = mapping.prepare(record.value.clone())?;
        let before = examples.as_mut().map(|examples| examples.before(number, &value)).transpose()?;
        mapping.item(&value, &before.unwrap_or_default())
    };
    let read = |(number, record): (usize, &Record)| {
        item(number, record).map_err(|message| record.wrong(number, message))
    };
    mapping.records(path)?.iter().enumerate().map(read).collect()
}

fn read_examples<'a>(
    path: &Path,
    table: &'a ExamplesTable,
    mapping: &Mapping<'a>,
) -> Result<Examples<'a>, ProbeError> {
    let records = mapping.records(path)?;
    let example = |number: usize, record: &Record| {
        let value = mapping.prepare(record.value.clone())?;
        let item = mapping.question(&value)?;
        if !mapping.file.kind.is_written() && item.gold >= item.choices.len() {
            return Err(format!("gold is choice {}, but there are {}", item.gold, item.choices.len()));
        }
        let text = match mapping.solution(&value)? {
            Some(solution) => format!("{}{}{solution}", item.context, mapping.target_delimiter()),
            None => item.solved(mapping.target_delimiter()),
        };
        Ok(Example { number, text, record: value })
    };
    let read = |(number, record): (usize, &Record)| {
        example(number, record).map_err(|message| record.wrong(number, message))
    };
    let pool = records.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    Examples::new(table, mapping.file.shots, &pool)
        .map_err(|(number, message)| records[number].wrong(number, message))
}

impl<'a> Mapping<'a> {
    /// Reads the templates; otherwise the key at fault and what is wrong there.
    fn new(file: &'a TaskFile) -> Result<Self, (&'static str, String)> {
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
        if file.kind == Kind::InContext {
            let message = "the in_context tasks are those of the builtin suite; a file can't have one";
            return Err(("kind", message.to_owned()));
        }
        if has_choices && file.gold.is_none() && file.right.is_none() {
            return Err(("gold", "missing: expected the field that says which choice is right".into()));
        }
        if file.gold.is_some() && file.right.is_some() {
            return Err(("right", "expected either `gold` or `right`, not both".into()));
        }
        if file.right.is_some() && file.kind != Kind::MultipleChoice {
            return Err(("right", "only a multiple_choice task can have several right choices".into()));
        }
        if file.original.is_some() && file.kind != Kind::Perplexity {
            return Err(("original", "only the text of a perplexity task is measured by another".into()));
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

    /// The records of a file that are asked: those for which `keep` is true.
    fn records(&self, path: &Path) -> Result<Vec<Record>, ProbeError> {
        let mut records = read_records(path)?;
        let Some(keep) = &self.keep else { return Ok(records) };
        let mut kept = Vec::with_capacity(records.len());
        for (number, record) in records.drain(..).enumerate() {
            match keep.render(&record.value).map_err(|message| record.wrong(number, message))?.as_str() {
                "True" => kept.push(record),
                "False" => {}
                other => {
                    let message = format!("`keep` is {other:?}, expected a condition");
                    return Err(record.wrong(number, message));
                }
            }
        }
        Ok(kept)
    }

    fn id(&self, record: &Value) -> Result<Option<String>, String> {
        optional(record, self.file.id.as_ref())
    }

    /// The record with the fields that `preprocess` and `names` add.
    fn prepare(&self, record: Value) -> Result<Value, String> {
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
    fn item(&self, record: &Value, examples: &str) -> Result<Item, String> {
        let question = self.question(record)?;
        let cluster = optional(record, self.file.cluster.as_ref())?;
        let context = format!("{}{examples}{}", self.description.render(record)?, question.context);
        Ok(Item { context, cluster, ..question })
    }

    /// The item without what stands before its question.
    fn question(&self, record: &Value) -> Result<Item, String> {
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
                Some(Program { before: before.render(record)?, tests: tests.render(record)? })
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
            also_right: right,
            answers,
            program,
            ..Item::default()
        })
    }

    /// What follows the question in an example, where the model is to write it: the solution, or the first accepted answer.
    fn solution(&self, record: &Value) -> Result<Option<String>, String> {
        match &self.solution {
            Some(solution) => solution.render(record).map(Some),
            None if self.file.kind == Kind::Generation => {
                Ok(self.question(record)?.answers.into_iter().next())
            }
            None if self.file.kind == Kind::Code => Err("examples of code need a `solution`".to_owned()),
            None => Ok(None),
        }
    }

    fn target_delimiter(&self) -> &str {
        self.file.target_delimiter.as_deref().unwrap_or(TARGET_DELIMITER)
    }

    /// The index of the right choice: a number (also as text), false and true for 0 and 1, or one of the `labels`.
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

impl Prompts {
    /// The texts in a folder, by the names of their files.
    fn read(&self, folder: &Path) -> Result<BTreeMap<String, String>, ProbeError> {
        let mut prompts = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                let text = fs::read_to_string(&path)?;
                let mark = self.after.as_deref().unwrap_or_default();
                let text = text.split_once(mark).map_or(text.as_str(), |(_, text)| text);
                let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                prompts.insert(name.unwrap_or_default(), text.to_owned());
            }
        }
        Ok(prompts)
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

/// The text of a field that a task need not name.
fn optional(record: &Value, path: Option<&String>) -> Result<Option<String>, String> {
    path.map(|path| scalar(field(record, path)?, path)).transpose()
}

/// The places of a list, at least one, at which it says yes: true, or 1.
fn right_choices(record: &Value, path: &str) -> Result<Vec<usize>, String> {
    let Value::Array(labels) = field(record, path)? else { return Err(format!("`{path}` is no list")) };
    let is_right = |label: &Value| label.as_bool().unwrap_or_else(|| label.as_u64() == Some(1));
    let right: Vec<usize> = (0..labels.len()).filter(|place| is_right(&labels[*place])).collect();
    if right.is_empty() {
        return Err(format!("`{path}` says of no choice that it is right: expected a 1 for one at least"));
    }
    Ok(right)
}

/// A list of texts, or a text by itself.
fn one_or_more(record: &Value, path: &str) -> Result<Vec<String>, String> {
    match field(record, path)? {
        Value::Array(_) => texts(record, path),
        value => Ok(vec![scalar(value, path)?]),
    }
}

/// A list of texts.
fn texts(record: &Value, path: &str) -> Result<Vec<String>, String> {
    let Value::Array(list) = field(record, path)? else { return Err(format!("`{path}` is no list")) };
    list.iter().map(|value| scalar(value, path)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHOICE: &str = r#"
        name = "t"
        domain = "d"
        kind = "multiple_choice"
        data = "data/t.jsonl"
        context = "Question: {{q}}\nAnswer:"
        choices = "options.text"
        gold = "key"
        labels = "options.label"
        cluster = "q"
        id = "id"
    "#;

    fn read(task: &str, data: &str) -> Result<Task, String> {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/t.jsonl"), data).unwrap();
        read_task(&folder.path().join("t.toml"), task, &[])
            .map_err(|error| error.to_string().replace(folder.path().to_str().unwrap(), "DIR"))
    }

    #[test]
    fn records_become_items() {
        let data = "{\"id\":1,\"q\":\"wer?\",\"key\":\"B\",\"options\":{\"text\":[\"ich\",\"你\"],\"label\":[\"A\",\"B\"]}}\n\n\
                    {\"id\":2,\"q\":\"\",\"key\":\"1\",\"options\":{\"text\":[\"a\",\"b\",\"c\",\"d\"],\"label\":[1,2,3,4]}}";
        let task = read(CHOICE, data).unwrap();
        let first = Item {
            context: "Question: wer?\nAnswer:".into(),
            choices: vec!["ich".into(), "你".into()],
            gold: 1,
            cluster: Some("wer?".into()),
            ..Item::default()
        };
        assert_eq!(task.items[0], first);
        assert_eq!((task.items[1].choices.len(), task.items[1].gold), (4, 0));
        assert_eq!(task.chance, Some(0.375));
    }

    #[test]
    fn gold_is_an_index_where_there_are_no_labels() {
        let task = CHOICE
            .replace("labels = \"options.label\"", "")
            .replace("\"options.text\"", "[\"{{a}}\", \"{{b}}\"]");
        let gold = |value: &str| {
            let record = format!("{{\"id\":0,\"q\":\"\",\"a\":\"x\",\"b\":2,\"key\":{value}}}");
            read(&task, &record).map(|task| task.items[0].gold)
        };
        assert_eq!(gold("1").unwrap(), 1);
        assert_eq!(gold("\"1\"").unwrap(), 1);
        assert_eq!(gold("false").unwrap(), 0);
        assert!(gold("-1").unwrap_err().contains("gold `key` is -1, expected the index of a choice"));
        assert!(gold("null").unwrap_err().contains("`key` is null"));
    }

    #[test]
    fn several_choices_may_be_right() {
        let several =
            CHOICE.replace("gold = \"key\"\n", "").replace("labels = \"options.label\"", "right = \"key\"");
        let record = |key: &str| {
            format!("{{\"id\":1,\"q\":\"\",\"key\":{key},\"options\":{{\"text\":[\"a\",\"b\",\"c\"]}}}}")
        };
        let task = read(&several, &record("[0,1,true]")).unwrap();
        assert_eq!(
            (task.items[0].gold, &task.items[0].also_right[..], task.chance),
            (1, &[2][..], Some(2.0 / 3.0))
        );
        assert_refused(
            &several,
            &record("[0,0,0]"),
            "line 1 (item 0): `key` says of no choice that it is right",
        );
        let beyond = read(&several, &record("[0,0,0,1]")).unwrap().check().unwrap_err().to_string();
        assert!(beyond.contains("gold is choice 3, but there are 3"), "{beyond}");
    }

    #[test]
    fn cloze_has_one_template_and_no_gold() {
        let cloze =
            "name = \"t\"\ndomain = \"d\"\nkind = \"cloze\"\ndata = \"data/t.jsonl\"\ncontext = \"{{c}}\"\n";
        let task = read(&format!("{cloze}choices = [\"{{{{a}}}}\"]"), "{\"c\":\"x\",\"a\":\"y\"}").unwrap();
        assert_eq!((task.chance, task.items[0].choices.as_slice()), (None, &["y".to_owned()][..]));
        let error = read(&format!("{cloze}choices = \"a\""), "").unwrap_err();
        assert!(error.contains("`choices`: a cloze task has one choice"), "{error}");
    }

    const LETTERS: &str = r#"
        name = "t"
        domain = "d"
        kind = "multiple_choice"
        data = "data/t.jsonl"
        description = "About {{name}}.\n\n"
        context = "{{q | trim}}\nA. {{a}}\nB. {{b}}\n答案："
        choices = ["A", "B"]
        gold = "key"
        labels = ["A", "B"]
        shots = 2
        examples.data = "data/t.jsonl"
        examples.match = "s"
        names.field = "s"
        names.of = { x = "甲", y = "乙" }
    "#;

    fn letters(subjects: &str) -> String {
        let record = |(i, s)| format!("{{\"q\":\" {i}? \",\"a\":{i},\"b\":0,\"key\":\"B\",\"s\":\"{s}\"}}\n");
        subjects.chars().enumerate().map(record).collect()
    }

    #[test]
    fn solved_examples_stand_between_description_and_question() {
        let task = read(LETTERS, &letters("xyxxyxy")).unwrap();
        let solved = |i| format!("{i}?\nA. {i}\nB. 0\n答案： B\n\n");
        assert_eq!(
            task.items[5].context,
            format!("About 甲.\n\n{}{}5?\nA. 5\nB. 0\n答案：", solved(0), solved(2))
        );
        assert_eq!(
            task.items[0].context,
            format!("About 甲.\n\n{}{}0?\nA. 0\nB. 0\n答案：", solved(2), solved(3))
        );
        assert_eq!((task.items[1].gold, task.shots, task.chance), (1, 2, Some(0.5)));
        let error = read(LETTERS, &letters("xxxy")).unwrap_err();
        assert!(
            error.contains("line 4 (item 3): expected 2 other examples like it, \"y\", found 0"),
            "{error}"
        );
        assert_refused(LETTERS, &letters("xxxz"), "`s` is \"z\", for which `names.of` has no name");
        assert_refused(LETTERS, &letters("xxx").replace("\"B\"", "\"C\""), "expected one of A, B");
    }

    #[test]
    fn a_continuation_may_follow_the_choices() {
        let partial = "name = \"t\"\ndomain = \"d\"\nkind = \"multiple_choice\"\ndata = \"data/t.jsonl\"\n\
                       preprocess = \"winogrande\"\nchoices = [\"{{before}}{{one}}\", \"{{before}}{{two}}\"]\n\
                       continuation = \"{{after}}\"\ngold = \"answer\"";
        let record = "{\"sentence\":\"So _ left.\",\"one\":\"A\",\"two\":\"B\",\"answer\":1}";
        let task = read(partial, record).unwrap();
        assert_eq!(task.items[0].pair(1), ("So B".into(), "left."));
        assert_refused(partial, &record.replace('_', "he"), "line 1 (item 0): `sentence` has no gap `_`");
    }

    #[test]
    fn a_text_may_be_measured_by_its_original() {
        let pages = "name = \"t\"\ndomain = \"d\"\nkind = \"perplexity\"\ndata = \"data/t.jsonl\"\n\
                     preprocess = \"wikitext\"\nchoices = [\"{{text}}\"]\noriginal = \"{{page}}\"";
        let task = read(pages, "{\"page\":\"a @-@ b , c\"}").unwrap();
        assert_eq!((task.items[0].pair(0).1, task.items[0].measured(0)), ("a-b, c", "a @-@ b , c"));
        assert_refused(
            &pages.replace("perplexity", "cloze"),
            "",
            "`original`: only the text of a perplexity",
        );
    }

    #[track_caller]
    fn assert_refused(task: &str, data: &str, expected: &str) {
        let error = read(task, data).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let record = "{\"id\":1,\"q\":\"?\",\"key\":\"A\",\"options\":{\"text\":[\"a\",\"b\"],\"label\":[\"A\",\"B\"]}}";
        assert_refused(CHOICE, &format!("{record}\n{{"), "DIR/data/t.jsonl line 2 (item 1): not JSON");
        assert_refused(
            CHOICE,
            &format!("{record}\n{record}"),
            "line 2 (item 1): its id \"1\" is also that of line 1",
        );
        assert_refused(
            CHOICE,
            &record.replace("\"key\"", "\"other\""),
            "line 1 (item 0): there is no field `key`",
        );
        assert_refused(
            &CHOICE.replace("cluster = \"q\"", "cluster = \"passage\""),
            record,
            "line 1 (item 0): there is no field `passage`",
        );
        assert_refused(
            CHOICE,
            &record.replace("\"A\",\"options\"", "\"E\",\"options\""),
            "expected one of `options.label`",
        );
        assert_refused(CHOICE, &record.replace("[\"a\",\"b\"]", "\"ab\""), "`options.text` is no list");
        assert_refused(
            &CHOICE.replace("data/t.jsonl", "none.jsonl"),
            "",
            "`data`: no such file or folder: looked for DIR/none.jsonl",
        );
        assert_refused(&CHOICE.replace("{{q}}", "{{q"), "", "DIR/t.toml: `context`: unexpected");
        assert_refused(&CHOICE.replace("gold = \"key\"", ""), "", "`gold`: missing");
        assert_refused(
            &format!("{CHOICE}\nright = \"key\""),
            "",
            "`right`: expected either `gold` or `right`",
        );
        assert_refused(&CHOICE.replace("domain", "domian"), "", "unknown field `domian`");
        assert_refused(&format!("{CHOICE}\nchance = 1.0"), "", "`chance`: expected a share");
    }
}
