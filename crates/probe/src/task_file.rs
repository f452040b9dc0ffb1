//! Tasks from TOML files: where the data is, and how each record becomes an item.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use serde_json::Value;

use crate::ProbeError;
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
    #[serde(default)]
    shots: usize,
    chance: Option<f64>,
    rises: Option<Rises>,
    source: Option<String>,
    licence: Option<String>,
    #[serde(default)]
    context: String,
    choices: Choices,
    gold: Option<String>,
    labels: Option<String>,
    cluster: Option<String>,
    id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the name of a field that holds a list, or a list of templates")]
enum Choices {
    Field(String),
    Templates(Vec<String>),
}

/// How a record becomes an item; [`TaskFile`]'s mapping with its templates read.
struct Mapping<'a> {
    file: &'a TaskFile,
    context: Template,
    /// Empty where the choices are a field.
    choices: Vec<Template>,
}

/// Reads the task at `path`, whose data is beside it or in one of the `data_folders`.
pub(crate) fn read_task(path: &Path, text: &str, data_folders: &[PathBuf]) -> Result<Task, ProbeError> {
    let file: TaskFile = toml::from_str(text)
        .map_err(|source| ProbeError::Toml { path: path.to_owned(), source: source.into() })?;
    let wrong = |key, message| ProbeError::TaskFile { path: path.to_owned(), key, message };
    let mapping = Mapping::new(&file).map_err(|(key, message)| wrong(key, message))?;
    if file.chance.is_some_and(|chance| !(0.0..1.0).contains(&chance)) {
        return Err(wrong("chance", "expected a share from 0 up to but not including 1".into()));
    }
    let data = find_data(path, &file.data, data_folders).map_err(|message| wrong("data", message))?;
    let items = read_items(&data, &mapping)?;
    let guess = items.iter().map(|item| 1.0 / item.choices.len() as f64).sum::<f64>() / items.len() as f64;
    let is_choice = file.kind == Kind::MultipleChoice && !items.is_empty();
    Ok(Task {
        chance: file.chance.or(is_choice.then_some(guess)),
        template: format!("{:?} {:?} {:?} {:?}", file.context, file.choices, file.gold, file.labels),
        name: file.name,
        domain: file.domain,
        kind: file.kind,
        shots: file.shots,
        rises: file.rises,
        source: file.source,
        licence: file.licence,
        items,
    })
}

/// The first of the places where `data` may be that has it.
fn find_data(task_file: &Path, data: &Path, folders: &[PathBuf]) -> Result<PathBuf, String> {
    let beside = task_file.parent().unwrap_or(Path::new(""));
    let places: Vec<PathBuf> = std::iter::once(beside)
        .chain(folders.iter().map(PathBuf::as_path))
        .map(|folder| folder.join(data))
        .collect();
    places.iter().find(|place| place.is_file()).cloned().ok_or_else(|| {
        let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
        format!(
            "no such file: looked for {}; the probes' `data` key can name the folder that has it",
            places.join(", ")
        )
    })
}

fn read_items(path: &Path, mapping: &Mapping) -> Result<Vec<Item>, ProbeError> {
    let text = fs::read_to_string(path)?;
    let mut items = Vec::new();
    let mut ids = BTreeMap::new();
    for (line, text) in text.lines().enumerate().filter(|(_, text)| !text.trim().is_empty()) {
        let line = line + 1;
        let wrong = |message| ProbeError::Record { path: path.to_owned(), line, item: items.len(), message };
        let record: Value =
            serde_json::from_str(text).map_err(|error| wrong(format!("not JSON: {error}")))?;
        if let Some(id) = mapping.id(&record).map_err(wrong)?
            && let Some(first) = ids.insert(id.clone(), line)
        {
            return Err(wrong(format!("its id {id:?} is also that of line {first}")));
        }
        let item = mapping.item(&record).map_err(wrong)?;
        items.push(item);
    }
    Ok(items)
}

impl<'a> Mapping<'a> {
    /// Reads the templates; otherwise the key at fault and what is wrong there.
    fn new(file: &'a TaskFile) -> Result<Self, (&'static str, String)> {
        let choices = match &file.choices {
            Choices::Field(_) if file.kind != Kind::MultipleChoice => {
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
        if file.kind == Kind::MultipleChoice && file.gold.is_none() {
            return Err(("gold", "missing: expected the field that says which choice is right".into()));
        }
        let context = Template::parse(&file.context).map_err(|message| ("context", message))?;
        Ok(Self { file, context, choices })
    }

    fn id(&self, record: &Value) -> Result<Option<String>, String> {
        optional(record, self.file.id.as_ref())
    }

    fn item(&self, record: &Value) -> Result<Item, String> {
        let choices = match &self.file.choices {
            Choices::Field(path) => texts(record, path)?,
            Choices::Templates(_) => {
                self.choices.iter().map(|template| template.render(record)).collect::<Result<_, _>>()?
            }
        };
        let gold = match &self.file.gold {
            Some(path) => self.gold(record, path)?,
            None => 0,
        };
        let cluster = optional(record, self.file.cluster.as_ref())?;
        Ok(Item { context: self.context.render(record)?, choices, gold, cluster })
    }

    /// The index of the right choice: a number (also as text), false and true for 0 and 1, or one of the `labels`.
    fn gold(&self, record: &Value, path: &str) -> Result<usize, String> {
        let value = field(record, path)?;
        let index = match (value, &self.file.labels) {
            (Value::Bool(second), None) => Some(usize::from(*second)),
            (value, None) => scalar(value, path)?.parse().ok(),
            (value, Some(labels)) => {
                let label = scalar(value, path)?;
                texts(record, labels)?.iter().position(|other| *other == label)
            }
        };
        let expected = self
            .file
            .labels
            .as_ref()
            .map_or("the index of a choice".to_owned(), |labels| format!("one of `{labels}`"));
        index.ok_or_else(|| format!("gold `{path}` is {value}, expected {expected}"))
    }
}

/// The text of a field that a task need not name.
fn optional(record: &Value, path: Option<&String>) -> Result<Option<String>, String> {
    path.map(|path| scalar(field(record, path)?, path)).transpose()
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
    fn cloze_has_one_template_and_no_gold() {
        let cloze =
            "name = \"t\"\ndomain = \"d\"\nkind = \"cloze\"\ndata = \"data/t.jsonl\"\ncontext = \"{{c}}\"\n";
        let task = read(&format!("{cloze}choices = [\"{{{{a}}}}\"]"), "{\"c\":\"x\",\"a\":\"y\"}").unwrap();
        assert_eq!((task.chance, task.items[0].choices.as_slice()), (None, &["y".to_owned()][..]));
        let error = read(&format!("{cloze}choices = \"a\""), "").unwrap_err();
        assert!(error.contains("`choices`: a cloze task has one choice"), "{error}");
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
            "`data`: no such file: looked for DIR/none.jsonl",
        );
        assert_refused(&CHOICE.replace("{{q}}", "{{q"), "", "DIR/t.toml: `context`: `{{` without `}}`");
        assert_refused(&CHOICE.replace("gold = \"key\"", ""), "", "`gold`: missing");
        assert_refused(&CHOICE.replace("domain", "domian"), "", "unknown field `domian`");
        assert_refused(&format!("{CHOICE}\nchance = 1.0"), "", "`chance`: expected a share");
    }
}
