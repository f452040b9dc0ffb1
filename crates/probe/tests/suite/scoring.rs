//! Evaluation of suites on a small random LLaMA: packing changes no score, and all results are computed from
//! the rows.

use std::cell::Cell;

use burn::tensor::Device;
use fineline_data::Tokenizer;
use fineline_model::{Llama, LlamaConfig};
use fineline_probe::{
    Catalog, EvaluationRound, Interrupted, Item, ItemRow, RankShare, RoundScores, Suite, SuiteOptions, Task,
    TaskKind, metrics, read_items, write_items,
};

use crate::support::{self, naive, small_config, task, tokenizer_of};

const MAX_LEN: usize = 48;

fn tokenizer() -> Tokenizer {
    let text = "The cat sat on the mat. A dog is in the house; the bird sings. 猫坐在垫子上。狗在房子里。 Question: \
        where? Answer: here.";
    tokenizer_of(text, 320)
}

/// Weights large enough for distinct predictions.
fn model(tokenizer: &Tokenizer, initializer_range: f64) -> Llama {
    let config = LlamaConfig {
        num_key_value_heads: Some(2),
        max_position_embeddings: MAX_LEN,
        initializer_range,
        ..small_config(tokenizer)
    };
    config.init(7, &Device::flex())
}

fn item(context: &str, choices: &[&str], gold: usize) -> Item {
    let choices = choices.iter().map(|&choice| choice.into()).collect();
    Item { context: context.into(), choices, gold, ..Item::default() }
}

/// Edge cases: no context, trailing spaces, Chinese, equal choices, choices of various lengths, contexts that
/// must be truncated.
fn choice_items() -> Vec<Item> {
    let long = "the bird sings on the mat; ".repeat(6);
    vec![
        item("The cat sat on", &["the mat", "a house in the house of the dog", "猫"], 0),
        item("", &["cat", "the bird sings."], 1),
        item("Question: where?\nAnswer: ", &["here", "in the mat", "x", "here"], 3),
        item("猫坐在", &["垫子上", "房子里。狗在房子里"], 0),
        item("same", &["dog", "dog"], 0),
        item(&long, &["a", "a bird sings on the mat", "the"], 2),
        item(
            &format!("{} end", &long[..110]),
            &["the cat sat on the mat in the house", "the bird sings here; a dog"],
            1,
        ),
        item("a", &["b", "c", "d", "e"], 2),
    ]
}

/// The same items in three clusters. The first item has no cluster.
fn clustered_items() -> Vec<Item> {
    let mut items = choice_items();
    for (number, item) in items.iter_mut().enumerate().skip(1) {
        item.cluster = Some(format!("thing {}", number % 3));
    }
    items
}

fn options(tokenizer: &Tokenizer) -> SuiteOptions<'_> {
    support::options(tokenizer, MAX_LEN)
}

fn run(tokenizer: &Tokenizer, model: &Llama, task: Task) -> fineline_probe::TaskResult {
    let suite = Suite::new("test", vec![task], options(tokenizer)).unwrap();
    suite.run(model, &EvaluationRound::WHOLE).unwrap().results.remove(0)
}

fn naive_choice(model: &Llama, tokenizer: &Tokenizer, context: &str, choice: &str) -> (f64, bool) {
    let bos = tokenizer.bos_id().unwrap();
    let with_bos = |text: &str| [vec![bos], tokenizer.encode(text).unwrap()].concat();
    let whole = with_bos(&format!("{context} {choice}"));
    let border = with_bos(context.trim_end()).len();
    let start = whole.len().saturating_sub(MAX_LEN + 1);
    naive(model, &whole[start..], border - start)
}

#[track_caller]
fn assert_close(actual: f64, expected: f64) {
    assert!((actual - expected).abs() < 1e-5 * expected.abs().max(1.0), "{actual} is not {expected}");
}

#[test]
fn packed_choices_score_as_if_each_were_alone() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let items = choice_items();
    let result = run(&tokenizer, &model, task(TaskKind::MultipleChoice, items.clone()));
    let choices = items.iter().flat_map(|item| item.choices.iter().map(move |choice| (item, choice)));
    assert_eq!(result.items.len(), choices.clone().count());
    for (row, (item, choice)) in result.items.iter().zip(choices) {
        let (logprob, greedy) = naive_choice(&model, &tokenizer, &item.context, choice);
        assert_close(row.logprob, logprob);
        assert_eq!((row.greedy, row.gold), (greedy, item.gold as u32), "{choice}");
        assert_eq!((row.n_chars, row.n_bytes), (choice.chars().count() as u32, choice.len() as u32));
    }
    assert_eq!(result.truncated, 2);
    assert_eq!((result.n, result.total, result.non_finite), (8, 8, 0));
    let same: Vec<&ItemRow> = result.items.iter().filter(|row| row.item == 4).collect();
    assert_close(same[0].logprob, same[1].logprob);
}

/// CORE's score: the mean over the tokens from where the prompts diverge.
#[test]
fn suffixes_score_as_if_each_were_alone() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let items: Vec<Item> = choice_items().into_iter().filter(|item| !item.context.is_empty()).collect();
    let result = run(&tokenizer, &model, task(TaskKind::SuffixMeanCe, items.clone()));
    let mut rows = result.items.iter();
    let bos = tokenizer.bos_id().unwrap();
    for item in &items {
        let prompt = |choice| {
            let text = tokenizer.encode(&format!("{} {choice}", item.context)).unwrap();
            [&[bos][..], &text].concat()
        };
        let prompts: Vec<Vec<u32>> = item.choices.iter().map(prompt).collect();
        let shortest = prompts.iter().map(Vec::len).min().unwrap();
        let parted = |place: &usize| prompts.iter().any(|prompt| prompt[*place] != prompts[0][*place]);
        let alike = (0..shortest).find(parted).unwrap_or(shortest);
        for prompt in &prompts {
            let start = alike.min(prompt.len() - 1);
            let lost = prompt.len().saturating_sub(MAX_LEN + 1);
            let row = rows.next().unwrap();
            assert_close(row.logprob, naive(&model, &prompt[lost..], start - lost).0);
            assert_eq!(row.n_tokens as usize, prompt.len() - start);
        }
    }
    assert_eq!(result.provenance.scorer, "suffix_mean_ce/1");
}

/// `OpenCompass`'s score: the sum of the cross-entropies of all tokens but the first, divided by the number
/// of all tokens.
#[test]
fn full_prompts_score_as_if_each_were_alone() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let items: Vec<Item> = choice_items().into_iter().filter(|item| !item.context.is_empty()).collect();
    let result = run(&tokenizer, &model, task(TaskKind::FullPromptMeanCe, items.clone()));
    let choices = items.iter().flat_map(|item| item.choices.iter().map(move |choice| (item, choice)));
    let bos = tokenizer.bos_id().unwrap();
    for (row, (item, choice)) in result.items.iter().zip(choices) {
        let text = tokenizer.encode(&format!("{} {choice}", item.context)).unwrap();
        let kept = &text[text.len().saturating_sub(MAX_LEN - 1)..];
        assert_close(row.logprob, naive(&model, &[&[bos], kept].concat(), 1).0);
        assert_eq!(row.n_tokens as usize, kept.len());
    }
    assert!(result.truncated > 0);
    assert_eq!(result.provenance.scorer, "full_prompt_mean_ce/1");
    let means: Vec<f64> = result.items.iter().map(|row| row.logprob / f64::from(row.n_tokens + 1)).collect();
    let of_first = means[..3].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let is_right = means[0] >= of_first;
    assert_eq!(metrics(&result.items[..3])["acc"].value, Some(f64::from(u8::from(is_right))));
}

#[test]
fn a_continuation_is_scored_after_each_choice() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let items: Vec<Item> = [("The cat ", "sat on the mat"), ("猫", "在垫子上。"), ("A dog ", "here")]
        .map(|(context, end)| Item {
            continuation: Some(end.into()),
            ..item(context, &["sings", "is in"], 1)
        })
        .into();
    let result = run(&tokenizer, &model, task(TaskKind::MultipleChoice, items.clone()));
    for (row, index) in result.items.iter().zip(0..) {
        let item = &items[index / 2];
        let (context, end) =
            (format!("{}{}", item.context, item.choices[index % 2]), item.continuation.as_ref().unwrap());
        assert_close(row.logprob, naive_choice(&model, &tokenizer, &context, end).0);
        assert_eq!((row.n_chars, row.n_bytes), (end.chars().count() as u32, end.len() as u32));
    }
}

#[test]
fn choices_are_scored_without_their_context_too() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    for unconditional in ["", "Answer:"] {
        let informed = Task {
            unconditional: Some(unconditional.into()),
            ..task(TaskKind::MultipleChoice, choice_items())
        };
        let (result, plain) = (
            run(&tokenizer, &model, informed),
            run(&tokenizer, &model, task(TaskKind::MultipleChoice, choice_items())),
        );
        assert_ne!(result.provenance.data, plain.provenance.data);
        let texts = choice_items().into_iter().flat_map(|item| item.choices);
        for ((row, plain), choice) in result.items.iter().zip(&plain.items).zip(texts) {
            assert_close(row.logprob, plain.logprob);
            let without = naive_choice(&model, &tokenizer, unconditional, &choice).0;
            assert_close(row.unconditional_logprob.unwrap(), without);
        }
        assert!(
            result.metrics.contains_key("acc_mutual_info") && !plain.metrics.contains_key("acc_mutual_info")
        );
    }
}

#[test]
fn a_single_item_is_a_task() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let result = run(&tokenizer, &model, task(TaskKind::GreedyMatch, vec![item("The cat", &["sat"], 0)]));
    let (logprob, greedy) = naive_choice(&model, &tokenizer, "The cat", "sat");
    assert_close(result.items[0].logprob, logprob);
    assert_eq!(result.items[0].greedy, greedy);
    let perplexity = result.metrics["perplexity"];
    assert_close(perplexity.value.unwrap(), (-logprob).exp());
    assert_eq!(perplexity.stderr, None);
}

#[test]
fn long_texts_are_scored_in_windows() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let text = "The cat sat on the mat. 狗在房子里。 ".repeat(9);
    let result = run(
        &tokenizer,
        &model,
        task(TaskKind::Perplexity, vec![item("", &[&text], 0), item("", &["cat"], 0)]),
    );
    let tokens = tokenizer.encode(&text).unwrap();
    assert!(tokens.len() > 2 * MAX_LEN, "the text needs three windows");
    let bos = tokenizer.bos_id().unwrap();
    let mut expected = naive(&model, &[&[bos], &tokens[..MAX_LEN]].concat(), 1).0;
    let mut start = MAX_LEN;
    while start < tokens.len() {
        let end = (start + MAX_LEN).min(tokens.len());
        let window = &tokens[end - MAX_LEN - 1..end];
        expected += naive(&model, window, window.len() - (end - start)).0;
        start = end;
    }
    let row = &result.items[0];
    assert_close(row.logprob, expected);
    assert_eq!((row.n_tokens as usize, row.n_bytes as usize), (tokens.len(), text.len()));
    assert_eq!(row.n_words, Some(9 * 7 + 1));
    let short = naive(&model, &[&[bos], tokenizer.encode("cat").unwrap().as_slice()].concat(), 1).0;
    let bytes = (text.len() + 3) as f64;
    assert_close(result.metrics["bits_per_byte"].value.unwrap(), -(expected + short) / bytes / 2.0_f64.ln());
}

#[test]
fn the_same_suite_gives_the_same_bits() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let [first, second] =
        [0, 1].map(|_| run(&tokenizer, &model, task(TaskKind::MultipleChoice, choice_items())));
    let bits = |rows: &[ItemRow]| rows.iter().map(|row| row.logprob.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&first.items), bits(&second.items));
    assert_eq!(first.provenance, second.provenance);
}

/// Questions after the same few-shot examples, which are computed once for all of them.
fn few_shot_items() -> Vec<Item> {
    let examples = "The cat sat on the mat. A dog is in the house; ".repeat(2);
    let question = |number: usize| {
        item(&format!("{examples}{}", number * 7), &["the mat", "猫", "a dog in"], number % 3)
    };
    (0..60).map(question).chain(choice_items()).collect()
}

#[test]
fn shared_prefixes_are_computed_once_and_change_no_score() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let result = run(&tokenizer, &model, task(TaskKind::MultipleChoice, few_shot_items()));
    let items = few_shot_items();
    let asked =
        Suite::new("test", vec![task(TaskKind::MultipleChoice, few_shot_items())], options(&tokenizer))
            .unwrap();
    let contexts: Vec<_> = asked.request_tokens().map(|asked| asked.context).take(60).collect();
    let shared = contexts[0].iter().zip(&contexts[4][..]).take_while(|(a, b)| a == b).count();
    assert!(shared * 59 > 1024, "enough is shared for a group: {shared} tokens");
    for row in &result.items {
        let item = &items[row.item as usize];
        let (logprob, greedy) =
            naive_choice(&model, &tokenizer, &item.context, &item.choices[row.choice as usize]);
        assert_close(row.logprob, logprob);
        assert_eq!(row.greedy, greedy);
    }
}

#[test]
fn several_ranks_score_the_same_as_one() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let tasks = vec![
        task(TaskKind::MultipleChoice, few_shot_items()),
        task(TaskKind::FullPromptMeanCe, choice_items()),
    ];
    let suite = Suite::new("test", tasks, options(&tokenizer)).unwrap();
    let round = EvaluationRound { limit: Some(50), ..EvaluationRound::WHOLE };
    let alone = suite.run(&model, &round).unwrap();
    for of in [2, 5, 64] {
        let mut together = RoundScores::default();
        let mut parts = 0;
        for rank in (0..of).rev() {
            let part = suite.score(&model, &round, RankShare { rank, size: of }).unwrap();
            parts += usize::from(part != RoundScores::default());
            // As sent between processes.
            together.merge(serde_json::from_str(&serde_json::to_string(&part).unwrap()).unwrap());
        }
        assert!(parts > 1, "the work is shared");
        for (result, alone) in suite.results(&round, &together).results.iter().zip(&alone.results) {
            assert_eq!((&result.items, &result.metrics), (&alone.items, &alone.metrics));
        }
    }
}

#[test]
fn a_smaller_limit_evaluates_a_subset_of_a_larger() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let suite =
        Suite::new("test", vec![task(TaskKind::MultipleChoice, clustered_items())], options(&tokenizer))
            .unwrap();
    let items = |count| -> Vec<u32> {
        let result = suite
            .run(&model, &EvaluationRound { limit: Some(count), ..EvaluationRound::WHOLE })
            .unwrap()
            .results
            .remove(0);
        assert_eq!((result.n, result.total), (count.min(8), 8));
        result.items.iter().filter(|row| row.choice == 0).map(|row| row.item).collect()
    };
    let whole = items(100);
    assert!(whole.iter().copied().eq(0..8));
    let mut before = items(1);
    for count in 2..=8 {
        let larger = items(count);
        assert!(larger.is_sorted() && before.iter().all(|item| larger.contains(item)));
        before = larger;
    }
}

#[test]
fn a_subset_keeps_the_items_numbers_and_scores() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let all = run(&tokenizer, &model, task(TaskKind::MultipleChoice, clustered_items()));
    let few = SuiteOptions { limit: Some(3), ..options(&tokenizer) };
    let few = Suite::new("test", vec![task(TaskKind::MultipleChoice, clustered_items())], few).unwrap();
    let few = few.run(&model, &EvaluationRound::WHOLE).unwrap().results.remove(0);
    assert_eq!((few.n, few.total), (3, 8));
    assert_eq!(few.provenance, all.provenance);
    for row in &few.items {
        let same =
            all.items.iter().find(|other| (other.item, other.choice) == (row.item, row.choice)).unwrap();
        assert_close(row.logprob, same.logprob);
        assert_eq!(row.cluster, same.cluster);
    }
}

#[test]
fn errors_count_the_items_of_a_cluster_together() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let [alone, clustered] = [choice_items(), clustered_items()]
        .map(|items| run(&tokenizer, &model, task(TaskKind::MultipleChoice, items)));
    assert_ne!(clustered.provenance, alone.provenance);
    for (name, clustered) in &clustered.metrics {
        let alone = alone.metrics[name];
        assert_eq!(clustered.value, alone.value, "{name}");
        assert_ne!(clustered.stderr, alone.stderr, "{name}");
    }
}

#[test]
fn metrics_come_from_the_item_store_alone() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let tasks = vec![
        Task { unconditional: Some(String::new()), ..task(TaskKind::MultipleChoice, clustered_items()) },
        task(TaskKind::FullPromptMeanCe, choice_items()),
        task(TaskKind::GreedyMatch, vec![item("the bird", &["sings"], 0), item("狗在", &["房子里"], 0)]),
        task(TaskKind::Perplexity, vec![item("", &["The cat sat."], 0), item("", &["猫坐在垫子上。"], 0)]),
    ];
    let results = Suite::new("test", tasks, options(&tokenizer))
        .unwrap()
        .run(&model, &EvaluationRound::WHOLE)
        .unwrap()
        .results;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("items.parquet");
    let rows: Vec<ItemRow> = results.iter().flat_map(|result| result.items.clone()).collect();
    write_items(&path, &rows).unwrap();
    let read = read_items(&path).unwrap();
    let by_task: Vec<&[ItemRow]> = read.chunk_by(|a, b| a.task == b.task).collect();
    assert_eq!(by_task.len(), results.len());
    for (rows, result) in by_task.into_iter().zip(&results) {
        assert_eq!(metrics(rows), result.metrics, "{}", result.task);
        assert!(
            result.metrics.values().all(|estimate| estimate.value.is_some() && estimate.stderr.is_some())
        );
    }
}

#[test]
fn a_broken_model_has_no_scores() {
    let tokenizer = tokenizer();
    let result =
        run(&tokenizer, &model(&tokenizer, f64::NAN), task(TaskKind::MultipleChoice, choice_items()));
    assert_eq!(result.non_finite, result.items.len());
    assert!(result.metrics.values().all(|estimate| estimate.value.is_none()), "{:?}", result.metrics);
    assert!(result.items.iter().all(|row| !row.greedy));
}

#[test]
fn a_round_can_be_interrupted_between_batches() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 0.3);
    let tasks = vec![
        task(TaskKind::MultipleChoice, few_shot_items()),
        task(TaskKind::GreedyMatch, vec![item("a", &["b"], 0)]),
    ];
    let suite = Suite::new("test", tasks, options(&tokenizer)).unwrap();
    let polls = Cell::new(0);
    let interrupted = || {
        polls.set(polls.get() + 1);
        polls.get() > 1
    };
    let round = EvaluationRound { interrupted: &interrupted, ..EvaluationRound::WHOLE };
    assert_eq!(suite.run(&model, &round), Err(Interrupted));
    assert_eq!(polls.get(), 2);
}

#[test]
fn invalid_items_are_rejected_when_loading() {
    let tokenizer = tokenizer();
    let refuse = |items| {
        Suite::new("test", vec![task(TaskKind::GreedyMatch, items)], options(&tokenizer))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refuse(vec![]), "task `greedy_match`: no items");
    let long = "猫".repeat(MAX_LEN * 3);
    let error = refuse(vec![item("a", &["b"], 0), item("a", &[&long], 0)]);
    assert!(error.starts_with("task `greedy_match`, item 1: choice 0 has "), "{error}");
    let twice = vec![task(TaskKind::GreedyMatch, vec![item("a", &["b"], 0)]); 2];
    let error = Suite::new("test", twice, options(&tokenizer)).unwrap_err().to_string();
    assert_eq!(error, "task `greedy_match`: suite `test` has two tasks of this name");
}

#[test]
fn the_builtin_suite_runs() {
    let tokenizer = tokenizer();
    let options = SuiteOptions { limit: Some(4), max_len: 1024, ..options(&tokenizer) };
    let suite = Suite::load(&Catalog::default(), "tinyworld", options).unwrap();
    let results = suite.run(&model(&tokenizer, 0.02), &EvaluationRound::WHOLE).unwrap().results;
    assert_eq!(results.len(), suite.tasks().count());
    for result in results {
        assert_eq!((result.n, result.non_finite), (4, 0), "{}", result.task);
        assert!(result.metrics.values().all(|estimate| estimate.value.is_some()), "{}", result.task);
    }
}
