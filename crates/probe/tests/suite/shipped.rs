//! The task files in `configs/probes` with their data and a real model. Skipped if these are unavailable.

use std::collections::BTreeSet;

use burn::tensor::Device;
use fineline_data::Tokenizer;
use fineline_model::load;
use fineline_probe::{Catalog, CodeExecution, EvaluationRound, Suite, SuiteOptions, Task};
use fineline_testing::{materials, skip};

use crate::support::shipped_suites;

fn catalog() -> Option<Catalog> {
    Some(Catalog {
        suite_dirs: vec![shipped_suites()],
        data_dirs: vec![materials("eval")?],
        ..Catalog::default()
    })
}

#[test]
fn benchmarks_read_their_data() {
    let Some(catalog) = catalog() else { return };
    let tasks = catalog.tasks("benchmarks").unwrap();
    let sizes: Vec<(&str, usize)> = tasks.iter().map(|task| (task.name.as_str(), task.items.len())).collect();
    let expected =
        [("lambada", 5153), ("arc_easy", 570), ("arc_challenge", 299), ("piqa", 1838), ("boolq", 3270)];
    assert_eq!(sizes, expected);
    let chance: Vec<Option<f64>> =
        tasks.iter().map(|task| task.chance.map(|p| (p * 100.0).round())).collect();
    assert_eq!(chance, [None, Some(25.0), Some(25.0), Some(50.0), Some(50.0)]);
    let arc = &tasks[1].items[0];
    assert_eq!(arc.context, "Question: Which technology was developed most recently?\nAnswer:");
    assert_eq!(arc.choices, ["cellular telephone", "television", "refrigerator", "airplane"]);
    assert_eq!(arc.gold, 0);
    let passages =
        |task: &Task| task.items.iter().filter_map(|item| item.cluster.clone()).collect::<BTreeSet<_>>();
    let passages: Vec<usize> = tasks.iter().map(|task| passages(task).len()).collect();
    assert_eq!(passages, [0, 0, 0, 0, 2938], "questions of boolq share passages");
}

#[test]
fn the_suites_read_their_data() {
    let Some(catalog) = catalog() else { return };
    let tasks = catalog.tasks("fineline").unwrap();
    let sizes: Vec<(&str, usize, usize)> =
        tasks.iter().map(|task| (task.name.as_str(), task.items.len(), task.shots)).collect();
    let expected = [
        ("mmlu", 14042, 5),
        ("mmlu_continuation", 14042, 0),
        ("ceval", 1346, 0),
        ("cmmlu", 11582, 5),
        ("arc_easy", 570, 0),
        ("arc_challenge", 299, 0),
        ("race", 1000, 0),
        ("boolq", 3270, 0),
        ("commonsense_qa", 1221, 0),
        ("commonsense_qa_cloze", 1221, 0),
        ("lambada", 5153, 0),
        ("hellaswag", 10042, 0),
        ("piqa", 1838, 0),
        ("piqa_full_prompt", 1838, 0),
        ("winogrande", 1267, 0),
        ("nq_open", 3610, 0),
        ("triviaqa", 7993, 0),
        ("gsm8k", 1319, 5),
        ("math", 5000, 4),
        ("bbh", 6511, 3),
        ("svamp", 300, 5),
    ];
    assert_eq!(sizes, expected);
    for task in &tasks {
        let is_described = task.signal.is_some() && task.source.is_some() && task.licence.is_some();
        assert!(is_described && task.version.is_some(), "{}", task.name);
    }
    let subjects = tasks[0].items.iter().map(|item| item.cluster.as_deref()).collect::<BTreeSet<_>>();
    assert_eq!(subjects.len(), 57);
    let names = |suite: &str| -> BTreeSet<String> {
        catalog.tasks(suite).unwrap().into_iter().map(|task| task.name).collect()
    };
    let all: BTreeSet<String> = tasks.iter().map(|task| task.name.clone()).collect();
    assert!(names("early").is_subset(&all) && names("benchmarks").is_subset(&all));
}

#[test]
fn a_real_model_is_scored_on_real_questions() {
    let Some(catalog) = catalog() else { return };
    let Some(directory) = materials("models/stories260K/hf") else { return };
    let Some(tokenizer) = materials("tokenizers/stories260k/tokenizer.json") else { return };
    let tokenizer = Tokenizer::from_file(tokenizer).unwrap();
    let model = load(&directory, &Device::flex()).unwrap();
    let max_len = model.config().max_position_embeddings;
    let options = SuiteOptions {
        tokenizer: &tokenizer,
        max_len,
        limit: Some(25),
        tasks: &[],
        code: CodeExecution::Forbidden,
    };
    let suite = Suite::load(&catalog, "benchmarks", options).unwrap();
    let results = suite.run(&model, &EvaluationRound::WHOLE).unwrap().results;
    assert_eq!(results.len(), 5);
    for result in results {
        assert_eq!((result.n, result.non_finite), (25, 0), "{}", result.task);
        let bits = result.metrics["bits_per_byte"].value.unwrap();
        assert!((0.5..8.0).contains(&bits), "{}: {bits} bits per byte", result.task);
    }
}

/// Mean cross-entropies from transformers in float64, `cross_entropy(logits[:-1], ids[1:]).sum() / len(ids)`,
/// of PIQA's first questions.
#[test]
fn full_prompts_have_the_scores_of_a_direct_computation() {
    let Some(catalog) = catalog() else { return };
    let Some(directory) = materials("models/stories260K/hf") else { return };
    let expected = [
        [3.739_091_028_804_63, 3.758_615_899_603_93],
        [4.497_767_667_019_76, 5.093_287_173_208_81],
        [3.981_748_121_895_63, 4.421_634_425_212_22],
    ];
    let tokenizer = Tokenizer::from_file(&directory).unwrap();
    let model = load(&directory, &Device::flex()).unwrap();
    let path = catalog.suite_dirs[0].join("tasks/piqa_full_prompt.toml");
    let mut tasks = catalog.tasks(path.to_str().unwrap()).unwrap();
    tasks[0].items.truncate(expected.len());
    let options = SuiteOptions {
        tokenizer: &tokenizer,
        max_len: 512,
        limit: None,
        tasks: &[],
        code: CodeExecution::Forbidden,
    };
    let result = Suite::new("test", tasks, options)
        .unwrap()
        .run(&model, &EvaluationRound::WHOLE)
        .unwrap()
        .results
        .remove(0);
    for (row, expected) in result.items.iter().zip(expected.as_flattened()) {
        let mean = -row.logprob / f64::from(row.n_tokens + 1);
        assert!((mean - expected).abs() < 1e-5, "{mean} is not {expected}");
    }
}

#[test]
fn prompts_equal_those_of_the_harness() {
    let Some(catalog) = catalog() else { return };
    let tasks = catalog.tasks("fineline").unwrap();
    let task = |name: &str| tasks.iter().find(|task| task.name == name).unwrap();
    let nq = &task("nq_open").items[0];
    assert_eq!(
        nq.context,
        "Answer these questions:\n\nQ: when was the last time anyone was on the moon?\nA:"
    );
    assert_eq!(nq.answers, ["14 December 1972 UTC", "December 1972"]);
    let gsm8k = &task("gsm8k").items[0].context;
    assert!(gsm8k.starts_with("Question: Natalia") && gsm8k.contains("#### 72\n\nQuestion: Weng"), "{gsm8k}");
    assert!(gsm8k.ends_with(
        "per fresh duck egg. How much in dollars does she make every day at the farmers' market?\nAnswer:"
    ));
    let bbh = task("bbh");
    let subtasks: BTreeSet<_> = bbh.items.iter().map(|item| item.cluster.as_deref()).collect();
    assert_eq!(subtasks.len(), 27);
    let first = &bbh.items[0].context;
    assert!(first.starts_with("Evaluate the result of a random Boolean expression.\n\nQ: not ("), "{first}");
    assert!(
        first.ends_with("\n\nQ: not ( True ) and ( True ) is\nA: Let's think step by step.\n"),
        "{first}"
    );
}

/// The reference solutions of the problems, run like a model's answers.
#[test]
fn canonical_solutions_of_code_tasks_pass_their_tests() {
    let Some(catalog) = catalog() else { return };
    let Some(directory) = materials("models/stories260K/hf") else { return };
    let tokenizer = Tokenizer::from_file(&directory).unwrap();
    let forbidden = SuiteOptions {
        tokenizer: &tokenizer,
        max_len: 512,
        limit: Some(2),
        tasks: &[],
        code: CodeExecution::Forbidden,
    };
    let error = Suite::load(&catalog, "code", forbidden).unwrap_err().to_string();
    assert!(
        error.starts_with("task `humaneval`: it runs programs") && error.contains("--allow-code-execution"),
        "{error}"
    );
    let allowed = SuiteOptions { code: CodeExecution::Allowed(None), ..forbidden };
    let suite = match Suite::load(&catalog, "code", allowed) {
        Err(error) if error.to_string().contains("no sandbox") => {
            skip(&error.to_string());
            return;
        }
        suite => suite.unwrap(),
    };
    let model = load(&directory, &Device::flex()).unwrap();
    let results = suite.run(&model, &EvaluationRound::WHOLE).unwrap();
    assert_eq!(results.failures, []);
    for result in results.results {
        assert_eq!(result.metrics["pass@1"].value, Some(0.0), "a model of stories writes no programs");
        assert!(result.items.iter().all(|row| row.text.is_some() && row.correct == Some(false)));
    }
}
