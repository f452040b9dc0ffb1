//! Representations of small models: the hidden state of one token of each text is compared.

use std::cell::Cell;

use burn::tensor::Device;
use fineline_data::Tokenizer;
use fineline_model::{Llama, LlamaConfig};
use fineline_probe::{
    Catalog, EvaluationRound, Interrupted, Item, RankShare, RepresentationHistory, RoundScores, Suite,
    SuiteOptions, Task, TaskKind, TaskResult,
};

use crate::support::{options, small_config, task, tokenizer_of};

const MAX_LEN: usize = 64;

fn tokenizer() -> Tokenizer {
    let text =
        "Anna lives in a small town by the river. She has a dog and likes bread. How many apples are there?";
    tokenizer_of(text, 320)
}

fn model(tokenizer: &Tokenizer, seed: u64, initializer_range: f64) -> Llama {
    let config =
        LlamaConfig { max_position_embeddings: MAX_LEN, initializer_range, ..small_config(tokenizer) };
    config.init(seed, &Device::flex())
}

fn suite(tokenizer: &Tokenizer, items: usize) -> Suite {
    Suite::load(
        &Catalog::default(),
        "representation",
        SuiteOptions { limit: Some(items), ..options(tokenizer, MAX_LEN) },
    )
    .unwrap()
}

fn run(suite: &Suite, model: &Llama) -> TaskResult {
    suite.run(model, &EvaluationRound::WHOLE).unwrap().results.remove(0)
}

#[test]
fn equal_weights_are_more_similar_than_others() {
    let tokenizer = tokenizer();
    let suite = suite(&tokenizer, 40);
    let mut history = RepresentationHistory::default();
    let mut compared = |step, model: &Llama| {
        let mut result = run(&suite, model);
        let rows = history.compare(step, &mut result);
        (result, rows)
    };
    let first = model(&tokenizer, 1, 0.2);
    let (result, rows) = compared(0, &first);
    assert_eq!(
        (result.kind, result.n, result.total, result.non_finite),
        (TaskKind::Representation, 40, 128, 0)
    );
    // After the embedding, after two layers, after the final norm: all pairs.
    assert_eq!(rows.len(), 16);
    let of = |a, b| rows.iter().find(|row| (row.layer_a, row.layer_b) == (a, b)).unwrap();
    for depth in 0..4 {
        assert!((of(depth, depth).cka.value.unwrap() - 1.0).abs() < 1e-9);
        assert!((of(depth, depth).cca.unwrap() - 1.0).abs() < 1e-6);
    }
    assert_eq!((of(0, 2).cka, of(0, 2).cca), (of(2, 0).cka, of(2, 0).cca));
    assert!(
        of(0, 1).cka.value.unwrap() > of(0, 2).cka.value.unwrap(),
        "the embedding is left behind step by step"
    );
    assert!(of(0, 2).cka.stderr.unwrap() > 0.0);

    let (same, _) = compared(1, &first);
    assert!((same.metrics["cka_previous_mean"].value.unwrap() - 1.0).abs() < 1e-9);
    let (other, rows) = compared(2, &model(&tokenizer, 2, 0.2));
    assert!(other.metrics["cka_previous_mean"].value.unwrap() < 0.9);
    assert_eq!(rows.len(), 16 + 4 + 4);
    assert!(other.metrics.values().all(|estimate| estimate.stderr.is_some()));
}

#[test]
fn a_smaller_limit_uses_a_subset_of_the_texts() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 1, 0.2);
    let [few, many] = [12, 40].map(|items| run(&suite(&tokenizer, items), &model).representation.unwrap());
    let places: Vec<usize> =
        few.items.iter().map(|item| many.items.iter().position(|other| other == item).unwrap()).collect();
    for (few_layer, many_layer) in few.layers.iter().zip(&many.layers) {
        // Distances don't depend on the centre: they are those of the larger set, up to its scale.
        let few_distances = distances(few_layer.upper(), 12, &(0..12).collect::<Vec<_>>());
        let many_distances = distances(many_layer.upper(), 40, &places);
        let scale = many_distances.iter().sum::<f64>() / few_distances.iter().sum::<f64>();
        assert!(scale > 0.0);
        for (few, many) in few_distances.iter().zip(&many_distances) {
            assert!((few * scale - many).abs() < 1e-5, "{few} times {scale} is not {many}");
        }
    }
}

/// Squared distances between the texts of these indices, pair by pair.
fn distances(upper: &[f32], texts: usize, places: &[usize]) -> Vec<f64> {
    let at = |i: usize, j: usize| f64::from(upper[i * texts - i * (i + 1) / 2 + j]);
    let pairs = places.iter().enumerate().flat_map(|(n, &i)| places[n + 1..].iter().map(move |&j| (i, j)));
    pairs.map(|(i, j)| at(i, i) + at(j, j) - 2.0 * at(i, j)).collect()
}

#[test]
fn several_ranks_equal_one() {
    let tokenizer = tokenizer();
    let model = model(&tokenizer, 1, 0.2);
    let suite = suite(&tokenizer, 20);
    let mut gathered = RoundScores::default();
    for rank in 0..3 {
        gathered.merge(suite.score(&model, &EvaluationRound::WHOLE, RankShare { rank, size: 3 }).unwrap());
    }
    let together = suite.results(&EvaluationRound::WHOLE, &gathered).results.remove(0);
    assert_eq!(together.representation, run(&suite, &model).representation);
    assert!(together.seconds > 0.0);
}

#[test]
fn broken_weights_have_no_similarities() {
    let tokenizer = tokenizer();
    let mut result = run(&suite(&tokenizer, 10), &model(&tokenizer, 1, f64::NAN));
    assert_eq!(result.non_finite, 4);
    let rows = RepresentationHistory::default().compare(0, &mut result);
    assert!(rows.iter().all(|row| row.cka.value.is_none() && row.cca.is_none()));
    assert_eq!(result.metrics["cka_adjacent_mean"].value, None);
}

#[test]
fn a_round_can_be_interrupted() {
    let tokenizer = tokenizer();
    let asked = Cell::new(0);
    let interrupted = || {
        asked.set(asked.get() + 1);
        true
    };
    let round = EvaluationRound { limit: None, interrupted: &interrupted };
    let stopped = suite(&tokenizer, 10).run(&model(&tokenizer, 1, 0.2), &round);
    assert_eq!((stopped, asked.get()), (Err(Interrupted), 1));
}

#[test]
fn invalid_tasks_are_rejected_when_loading() {
    let tokenizer = tokenizer();
    let few = Suite::load(
        &Catalog::default(),
        "representation",
        SuiteOptions { limit: Some(7), ..options(&tokenizer, MAX_LEN) },
    )
    .unwrap_err();
    assert!(few.to_string().contains("expected at least 8 texts"), "{few}");
    let item = |text: &str| Item { choices: vec![text.into()], ..Item::default() };
    let task = |items| Task { name: "own".into(), ..task(TaskKind::Representation, items) };
    let mut items = vec![item("a town by the river"); 9];
    Suite::new("s", vec![task(items.clone())], options(&tokenizer, MAX_LEN)).unwrap();
    items[3] = Item { context: "before".into(), ..item("text") };
    let refused = Suite::new("s", vec![task(items)], options(&tokenizer, MAX_LEN)).unwrap_err().to_string();
    assert!(refused.contains("task `own`, item 3: expected no context"), "{refused}");
}
