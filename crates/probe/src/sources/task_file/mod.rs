//! Tasks from TOML files.

// The keys of a task file.
pub(crate) mod generation_table;
pub(crate) mod schema;

// From a record to an item.
mod mapping;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mapping::RecordMapping;

use crate::error::ProbeError;
use crate::prompts::fewshot_examples::{ExamplesTable, FewshotExample, FewshotExamples};
use crate::records::record::Record;
use crate::sources::task_file::schema::TaskFile;
use crate::tasks::item::Item;
use crate::tasks::task::{TARGET_DELIMITER, Task};

/// Reads the task at `path`. Its data is next to it or in one of the `data_dirs`.
pub(crate) fn read_task(path: &Path, text: &str, data_dirs: &[PathBuf]) -> Result<Task, ProbeError> {
    let file: TaskFile = toml::from_str(text)
        .map_err(|source| ProbeError::Toml { path: path.to_owned(), source: source.into() })?;
    let wrong = |key, message| ProbeError::TaskFile { path: path.to_owned(), key, message };
    let mut mapping = RecordMapping::new(&file).map_err(|(key, message)| wrong(key, message))?;
    let generation = file.rules().map_err(|(key, message)| wrong(key, message))?;
    if file.chance.is_some_and(|chance| !(0.0..1.0).contains(&chance)) {
        return Err(wrong("chance", "expected a value in [0, 1)".into()));
    }
    let hub = file.hub.as_ref();
    let find = |key, data, split: Option<&String>| {
        let fetched = hub.zip(split).and_then(|(hub, split)| hub.find(split, data_dirs));
        find_data(path, data, data_dirs)
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
    let guess = items.iter().map(Item::chance).sum::<f64>() / items.len() as f64;
    let is_choice = file.kind.has_choices() && !items.is_empty();
    Ok(Task {
        chance: file.chance.or(is_choice.then_some(guess)),
        template: file.template(),
        name: file.name,
        domain: file.domain,
        kind: file.kind,
        shots: file.shots,
        signal: file.signal,
        source: file.source,
        licence: file.licence,
        version: file.version,
        unconditional: file.unconditional,
        target_delimiter: file.target_delimiter.unwrap_or_else(|| TARGET_DELIMITER.to_owned()),
        generation,
        items,
    })
}

/// The first existing path of `data`, next to the task file or in a data directory.
fn find_data(task_file: &Path, data: &Path, dirs: &[PathBuf]) -> Result<PathBuf, String> {
    let beside = task_file.parent().unwrap_or(Path::new(""));
    let candidates: Vec<PathBuf> =
        std::iter::once(beside).chain(dirs.iter().map(PathBuf::as_path)).map(|dir| dir.join(data)).collect();
    candidates.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let candidates: Vec<String> = candidates.iter().map(|path| path.display().to_string()).collect();
        format!(
            "no such file or directory: tried {}; set `data_dir` in [[probes]] or pass `--data`, or \
             download data from the hub with `fineline data fetch`",
            candidates.join(", ")
        )
    })
}

fn read_items(
    path: &Path,
    mapping: &RecordMapping,
    mut examples: Option<&mut FewshotExamples>,
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
    mapping: &RecordMapping<'a>,
) -> Result<FewshotExamples<'a>, ProbeError> {
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
        Ok(FewshotExample { number, text, record: value })
    };
    let read = |(number, record): (usize, &Record)| {
        example(number, record).map_err(|message| record.wrong(number, message))
    };
    let pool = records.iter().enumerate().map(read).collect::<Result<Vec<_>, _>>()?;
    FewshotExamples::new(table, mapping.file.shots, &pool)
        .map_err(|(number, message)| records[number].wrong(number, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use fs_err as fs;

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
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("data")).unwrap();
        fs::write(dir.path().join("data/t.jsonl"), data).unwrap();
        read_task(&dir.path().join("t.toml"), task, &[])
            .map_err(|error| error.to_string().replace(dir.path().to_str().unwrap(), "DIR"))
    }

    #[test]
    fn records_become_items() {
        let data = "{\"id\":1,\"q\":\"wer?\",\"key\":\"B\",\"options\":{\"text\":[\"ich\",\"你\"],\"label\":\
            [\"A\",\"B\"]}}\n\n\
                    {\"id\":2,\"q\":\"\",\"key\":\"1\",\"options\":{\"text\":\
                        [\"a\",\"b\",\"c\",\"d\"],\"label\":[1,2,3,4]}}";
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
            (task.items[0].gold, &task.items[0].other_gold[..], task.chance),
            (1, &[2][..], Some(2.0 / 3.0))
        );
        assert_refused(&several, &record("[0,0,0]"), "line 1 (item 0): `key` marks no choice as correct");
        let beyond = read(&several, &record("[0,0,0,1]")).unwrap().check().unwrap_err().to_string();
        assert!(beyond.contains("gold is choice 3, but there are 3"), "{beyond}");
    }

    #[test]
    fn greedy_match_has_one_template_and_no_gold() {
        let cloze = "name = \"t\"\ndomain = \"d\"\nkind = \"greedy_match\"\ndata \
            = \"data/t.jsonl\"\ncontext = \"{{c}}\"\n";
        let task = read(&format!("{cloze}choices = [\"{{{{a}}}}\"]"), "{\"c\":\"x\",\"a\":\"y\"}").unwrap();
        assert_eq!((task.chance, task.items[0].choices.as_slice()), (None, &["y".to_owned()][..]));
        let error = read(&format!("{cloze}choices = \"a\""), "").unwrap_err();
        assert!(error.contains("`choices`: a greedy_match task has one choice"), "{error}");
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
                       preprocess = \"winogrande\"\nchoices = \
                           [\"{{before}}{{one}}\", \"{{before}}{{two}}\"]\n\
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
        assert_refused(&pages.replace("perplexity", "greedy_match"), "", "`original`: only for perplexity");
    }

    #[track_caller]
    fn assert_refused(task: &str, data: &str, expected: &str) {
        let error = read(task, data).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let record = "{\"id\":1,\"q\":\"?\",\"key\":\"A\",\"options\":{\"text\":[\"a\",\"b\"],\"label\":\
            [\"A\",\"B\"]}}";
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
        assert_refused(CHOICE, &record.replace("[\"a\",\"b\"]", "\"ab\""), "`options.text` is not a list");
        assert_refused(
            &CHOICE.replace("data/t.jsonl", "none.jsonl"),
            "",
            "`data`: no such file or directory: tried DIR/none.jsonl",
        );
        assert_refused(&CHOICE.replace("{{q}}", "{{q"), "", "DIR/t.toml: `context`: unexpected");
        assert_refused(&CHOICE.replace("gold = \"key\"", ""), "", "`gold`: missing");
        assert_refused(
            &format!("{CHOICE}\nright = \"key\""),
            "",
            "`right`: expected either `gold` or `right`",
        );
        assert_refused(&CHOICE.replace("domain", "domian"), "", "unknown field `domian`");
        assert_refused(&format!("{CHOICE}\nchance = 1.0"), "", "`chance`: expected a value in");
    }
}
