//! The suites in `configs/probes` whose data is unavailable, on handwritten records in the hub's format; and
//! OLMES against its own requests, if available.

use std::collections::BTreeMap;

use fineline_probe::{Catalog, Item, Task};
use fineline_testing::materials;
use fs_err as fs;
use serde_json::{Value, json};

use crate::support::shipped_suites;

/// The task of a file in `configs/probes/tasks`, with these records where `fineline data fetch` would put
/// them.
fn task(name: &str, records: &[Value]) -> Task {
    let data = tempfile::tempdir().unwrap();
    let mut catalog = Catalog { suite_dirs: vec![shipped_suites().join("tasks")], ..Catalog::default() };
    let lines: Vec<String> = records.iter().map(Value::to_string).collect();
    if let Some(hub) = catalog.sources(name).unwrap().remove(0).hub {
        let config = hub.config.as_deref().unwrap_or("default");
        let dir = data.path().join(hub.repo.replace('/', "__")).join(config);
        fs::create_dir_all(&dir).unwrap();
        for split in [Some(&hub.split), hub.examples.as_ref()].into_iter().flatten() {
            fs::write(dir.join(format!("{split}.jsonl")), lines.join("\n")).unwrap();
        }
    } else {
        for path in
            ["storycloze/2016.test.jsonl", "local_data/symbolic_problem_solving/agi_eval_lsat_ar.jsonl"]
        {
            let path = data.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, lines.join("\n")).unwrap();
        }
    }
    catalog.data_dirs = vec![data.path().to_owned()];
    catalog.tasks(name).unwrap().remove(0)
}

#[track_caller]
fn assert_item(name: &str, record: &Value, context: &str, choices: &[&str], gold: usize) {
    let task = task(name, std::slice::from_ref(record));
    let Item { context: found, choices: found_choices, gold: found_gold, .. } = &task.items[0];
    assert_eq!(
        (found.as_str(), found_choices.as_slice(), *found_gold),
        (context, &choices.map_owned()[..], gold)
    );
    assert_eq!(task.chance.map(|chance| (chance * 1e3).round()), Some((1e3 / choices.len() as f64).round()));
}

trait Owned {
    fn map_owned(&self) -> Vec<String>;
}

impl Owned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|&text| text.to_owned()).collect()
    }
}

/// In the wording of lm-evaluation-harness 0.4.13's task files.
#[test]
fn records_become_prompts_of_the_harness() {
    let record = json!({"context": "Ann ran.", "question": "Why?", "answerA": "late", "answerB": "fun",
        "answerC": "no", "label": "2"});
    assert_item("siqa", &record, "Q: Ann ran. Why?\nA:", &["late", "fun", "no"], 1);
    let choices = json!({"text": ["wood", "iron"], "label": ["A", "B"]});
    let record =
        json!({"id": "7-1", "question_stem": "A magnet attracts", "choices": choices, "answerKey": "B"});
    assert_item("openbookqa", &record, "A magnet attracts", &["wood", "iron"], 1);
    let record = json!({"premise": "The man fell. ", "choice1": "He slept.", "choice2": "It was icy.",
        "question": "cause", "label": 1, "idx": 0});
    assert_item("copa", &record, "The man fell because", &["he slept.", "it was icy."], 1);
    let record = json!({"premise": "It rained.", "choice1": "We left.", "choice2": "I sang.",
        "question": "effect", "label": 0});
    assert_item("copa", &record, "It rained therefore", &["we left.", "i sang."], 0);
    let record = json!({"input_sentence_1": "A.", "input_sentence_2": "B.", "input_sentence_3": "C.",
        "input_sentence_4": "D.",
        "sentence_quiz1": "E.", "sentence_quiz2": "F.", "answer_right_ending": 2});
    assert_item("storycloze_2016", &record, "A. B. C. D.", &["E.", "F."], 1);
    let record = json!({"sentence1": "It is.", "sentence2": "It was.", "label": 1, "idx": 3});
    assert_item("rte", &record, "It is.\nQuestion: It was. True or False?\nAnswer:", &["True", "False"], 1);
    let record =
        json!({"sentence1": "A bank é here", "sentence2": "The bank", "start1": 2, "end1": 6, "label": 0});
    let context = "Sentence 1: A bank é here\nSentence 2: The bank\nQuestion: Is the word 'bank' used in \
        the same way in the two sentences above?\nAnswer:";
    assert_item("wic", &record, context, &["no", "yes"], 0);
    for name in ["anli_r1", "anli_r2", "anli_r3"] {
        let record = json!({"uid": "u", "premise": "P.", "hypothesis": "H.", "label": 2});
        let context = "P.\nQuestion: H. True, False, or Neither?\nAnswer:";
        assert_item(name, &record, context, &["True", "Neither", "False"], 2);
    }
}

#[test]
fn truthfulqa_has_six_examples() {
    let targets = json!({"choices": ["Nothing.", "Luck."], "labels": [1, 0]});
    let task = task("truthfulqa_mc1", &[json!({"question": "What happens?", "mc1_targets": targets})]);
    let item = &task.items[0];
    assert!(
        item.context.starts_with("Q: What is human life expectancy in the United States?\nA: Human life")
    );
    assert!(
        item.context.ends_with("were held in Barcelona, Spain.\n\nQ: What happens?\nA:"),
        "{}",
        item.context
    );
    assert_eq!((item.context.matches("Q: ").count(), item.gold), (7, 0));
}

#[test]
fn truthfulqa_has_several_right_answers() {
    let targets =
        json!({"choices": ["Nothing.", "Luck.", "Nothing at all.", "Harm."], "labels": [0, 1, 1, 0]});
    let task = task("truthfulqa_mc2", &[json!({"question": "What happens?", "mc2_targets": targets})]);
    let item = &task.items[0];
    assert_eq!((item.gold, &item.other_gold[..], item.choices.len()), (1, &[2][..], 4));
    assert_eq!(task.chance, Some(0.5));
}

#[test]
fn few_shot_examples_precede_the_question() {
    let records: Vec<Value> = (0..4)
        .map(|i| json!({"query": format!("Q{i}? A:"), "choices": ["(A)x", "(B)y"], "gold": i % 2}))
        .collect();
    let task = task("core_agi_eval_lsat_ar", &records);
    assert_eq!((task.shots, task.chance), (3, Some(0.2)));
    for (number, item) in task.items.iter().enumerate() {
        assert!(item.context.ends_with(&format!("\n\nQ{number}? A:")));
        assert_eq!(
            item.context.matches(&format!("Q{number}? A:")).count(),
            1,
            "a question is not its own example"
        );
        assert_eq!(item.context.matches(" (").count(), 3);
        assert_eq!(item.gold, number % 2);
    }
}

/// Each task file has the keys that the documentation requires.
#[test]
fn every_task_is_described() {
    for entry in fs::read_dir(shipped_suites().join("tasks")).unwrap() {
        let path = entry.unwrap().path();
        let file: toml::Table = toml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        for key in ["name", "domain", "kind", "signal", "source", "licence", "version"] {
            assert!(file.get(key).and_then(toml::Value::as_str).is_some(), "{}: {key}", path.display());
        }
        assert_eq!(path.file_stem().unwrap().to_str(), file["name"].as_str(), "{}", path.display());
    }
    for entry in fs::read_dir(shipped_suites()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            let catalog = Catalog::default();
            let names = catalog.sources(path.to_str().unwrap()).unwrap();
            assert!(!names.is_empty(), "{}", path.display());
        }
    }
}

#[test]
fn olmes_requests_equal_the_published_ones() {
    let Some(eval) = materials("eval") else { return };
    let catalog =
        Catalog { suite_dirs: vec![shipped_suites()], data_dirs: vec![eval.clone()], ..Catalog::default() };
    let tasks = catalog.tasks("olmes").unwrap();
    let sizes: Vec<usize> = tasks.iter().map(|task| task.items.len()).collect();
    assert_eq!(sizes, [570, 299, 1221, 1000]);
    for (task, dir) in tasks.iter().zip(["arc_easy", "arc_challenge", "csqa", "piqa"]) {
        let mut given: BTreeMap<u64, Vec<(String, String, usize)>> = BTreeMap::new();
        let mut unconditional = 0;
        let path = eval.join(format!("olmes/{dir}/rc_5shot/requests.jsonl.gz"));
        let mut text = String::new();
        std::io::Read::read_to_string(
            &mut flate2::read::MultiGzDecoder::new(fs::File::open(path).unwrap()),
            &mut text,
        )
        .unwrap();
        for line in text.lines() {
            let request: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| request["request"][key].as_str().unwrap().to_owned();
            let number = request["doc_id"].as_u64().unwrap();
            if number >= 1_000_000 {
                assert_eq!(text("context"), "Answer:");
                unconditional += 1;
                continue;
            }
            let label = request["label"].as_u64().unwrap() as usize;
            given.entry(number).or_default().push((text("context"), text("continuation"), label));
        }
        let asked: Vec<Vec<(String, String, usize)>> = task
            .items
            .iter()
            .map(|item| {
                let of_choice = |choice: &String| (item.context.clone(), format!(" {choice}"), item.gold);
                item.choices.iter().map(of_choice).collect()
            })
            .collect();
        assert!(given.into_values().eq(asked.iter().cloned()), "{dir}");
        assert_eq!(unconditional, asked.iter().map(Vec::len).sum::<usize>());
    }
}
