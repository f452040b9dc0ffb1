//! Tasks whose answers a real, if small, model generates. Skipped if that model is unavailable.

use std::collections::BTreeSet;

use burn::tensor::Device;
use fineline_data::Tokenizer;
use fineline_model::{Sampling, load};
use fineline_probe::{
    AnswerEquality, EvaluationRound, Extraction, FilterStep, GenerationRules, Item, ItemRow, Pattern,
    Pipeline, RankShare, RoundScores, Suite, Task, TaskKind, metrics,
};
use fineline_testing::materials;

use crate::support::{self, options};

const MAX_LEN: usize = 512;

fn task(name: &str, rules: GenerationRules, items: Vec<Item>) -> Task {
    Task { name: name.into(), generation: Some(rules), ..support::task(TaskKind::Generation, items) }
}

/// Generated answers are the same in one process or three, are judged and counted, and can be recomputed from
/// their rows.
#[test]
fn generated_answers_are_judged() {
    let Some(directory) = materials("models/stories260K/hf") else { return };
    let tokenizer = Tokenizer::from_file(&directory).unwrap();
    let model = load(&directory, &Device::flex()).unwrap();
    let item = |context: &str, answers: &[&str]| Item {
        context: context.into(),
        answers: answers.iter().map(|&answer| answer.to_owned()).collect(),
        ..Item::default()
    };
    let items = vec![
        item("Once upon a time, there was a little girl named", &["Tom", "Lily"]),
        item("Once upon a time, there was a little boy named", &["nobody"]),
        item("Lily had a big red", &["ball"]),
        item("", &["Once upon a time"]),
    ];
    let rules = GenerationRules {
        until: vec![".".into(), ",".into()],
        max_new_tokens: 12,
        equality: AnswerEquality::Words,
        token_f1: true,
        ..GenerationRules::default()
    };
    let sampled = GenerationRules {
        sampling: Sampling::Random { temperature: 1.0, top_k: None, top_p: None, seed: 5 },
        attempts: 4,
        token_f1: false,
        ..rules.clone()
    };
    let task = |name, rules| task(name, rules, items.clone());
    let tasks = vec![task("greedy", rules), task("sampled", sampled)];
    let suite = Suite::new("s", tasks, options(&tokenizer, MAX_LEN)).unwrap();
    assert_eq!(suite.request_tokens().filter(|asked| asked.continuation.is_empty()).count(), 8);
    let round = EvaluationRound::WHOLE;
    let whole = suite.run(&model, &round).unwrap();
    assert_eq!(whole.failures, []);
    let [greedy, sampled] = &whole.results[..] else { panic!("two tasks") };
    assert_eq!(greedy.items[0].text.as_deref().map(|text| text.trim().starts_with("Lily")), Some(true));
    assert!(greedy.items.iter().all(|row| row.greedy && row.logprob < 0.0 && row.score.is_some()));
    assert_eq!(sampled.items.len(), 16);
    assert_eq!(greedy.metrics, metrics(&greedy.items));
    assert_eq!(sampled.metrics.keys().collect::<Vec<_>>(), ["exact_match", "pass@1", "pass@2", "pass@4"]);
    let texts = |item: &[ItemRow]| item.iter().map(|row| row.text.clone()).collect::<BTreeSet<_>>().len();
    assert!(sampled.items.chunks(4).any(|item| texts(item) > 1), "attempts have draws of their own");

    let mut scores = RoundScores::default();
    for rank in [2, 0, 1] {
        scores.merge(suite.score(&model, &round, RankShare { rank, size: 3 }).unwrap());
    }
    let gathered = suite.results(&round, &scores);
    for (gathered, whole) in gathered.results.iter().zip(&whole.results) {
        assert_eq!(gathered.items, whole.items);
    }
    let some = suite.run(&model, &EvaluationRound { limit: Some(2), ..EvaluationRound::WHOLE }).unwrap();
    assert_eq!(some.results[0].items.len(), 2);
    assert!(suite.run(&model, &EvaluationRound { interrupted: &|| true, ..EvaluationRound::WHOLE }).is_err());
}

/// A pattern that takes forever fails its task, not the round.
#[test]
fn a_task_that_cannot_be_judged_fails_alone() {
    let Some(directory) = materials("models/stories260K/hf") else { return };
    let tokenizer = Tokenizer::from_file(&directory).unwrap();
    let model = load(&directory, &Device::flex()).unwrap();
    let items = vec![Item { context: "Once".into(), answers: vec!["x".into()], ..Item::default() }];
    let extraction = Extraction {
        regex_pattern: Pattern::new(r"(?=((\w|\s|\W)+)+\d)(x)\1").unwrap(),
        group_select: 0,
        fallback: String::new(),
    };
    let filters = vec![Pipeline { name: "slow".into(), steps: vec![FilterStep::Regex(extraction)] }];
    let rules = |filters| GenerationRules { filters, max_new_tokens: 60, ..GenerationRules::default() };
    let task = |name, filters| task(name, rules(filters), items.clone());
    let tasks = vec![task("slow", filters), task("sound", Vec::new())];
    let suite = Suite::new("s", tasks, options(&tokenizer, MAX_LEN)).unwrap();
    let round = suite.run(&model, &EvaluationRound::WHOLE).unwrap();
    assert_eq!(round.results.iter().map(|result| result.task.as_str()).collect::<Vec<_>>(), ["sound"]);
    assert_eq!(round.failures[0].task, "slow");
    assert!(round.failures[0].message.contains("failed"), "{}", round.failures[0].message);
}
