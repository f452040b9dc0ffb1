//! Tests of batched generation.

use std::cell::Cell;
use std::ops::ControlFlow;

use proptest::prelude::*;

use super::*;
use crate::generate::{GenerateConfig, generate};
use crate::llama::LlamaConfig;

const CONTEXT: usize = 40;

/// Four query heads per key-value head, and weights large enough that no two tokens are equally probable.
fn model(seed: u64) -> Llama {
    let config = LlamaConfig {
        vocab_size: 29,
        hidden_size: 32,
        intermediate_size: 40,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: Some(1),
        max_position_embeddings: CONTEXT,
        initializer_range: 0.4,
        ..LlamaConfig::default()
    };
    config.init(seed, &Device::flex())
}

fn config(max_new_tokens: usize) -> BatchConfig {
    BatchConfig { max_new_tokens, stop: vec![7], cache_bytes: 1 << 20 }
}

fn prompt(tokens: &[u32], continuations: &[Sampling]) -> Prompt {
    Prompt { tokens: tokens.to_vec(), continuations: continuations.to_vec() }
}

fn random(seed: u64) -> Sampling {
    Sampling::Random { temperature: 1.5, top_k: Some(20), top_p: Some(0.95), seed }
}

/// The results of all batches.
fn whole(written: Result<Vec<Option<Vec<Continuation>>>, GenerateError>) -> Vec<Vec<Continuation>> {
    written.unwrap().into_iter().map(Option::unwrap).collect()
}

fn write(prompts: &[Prompt], config: &BatchConfig) -> Vec<Vec<Continuation>> {
    whole(generate_batch(&model(3), prompts, config, BatchControl::ALL))
}

/// Compares with the results of `generate` for each prompt alone.
#[track_caller]
fn assert_as_alone(model: &Llama, prompts: &[Prompt], config: &BatchConfig, written: &[Vec<Continuation>]) {
    for (prompt, written) in prompts.iter().zip(written) {
        assert_eq!(written.len(), prompt.continuations.len());
        for (sampling, written) in prompt.continuations.iter().zip(written) {
            let alone = GenerateConfig {
                max_new_tokens: config.max_new_tokens,
                sampling: sampling.clone(),
                stop: config.stop.clone(),
            };
            let alone = generate(model, &prompt.tokens, &alone, |_| ControlFlow::Continue(())).unwrap();
            assert_eq!((&written.tokens, written.finish), (&alone.tokens, alone.finish), "{prompt:?}");
        }
    }
}

#[test]
fn texts_of_a_batch_are_those_written_alone() {
    let model = model(3);
    let long: Vec<u32> = (0..30).map(|i| i * 11 % 29).collect();
    let prompts = [
        prompt(&[1, 5, 2], &[Sampling::Greedy]),
        prompt(&long, &[Sampling::Greedy, random(4), random(5)]),
        prompt(&[3], &[Sampling::Greedy, random(1), random(2)]),
        prompt(&[long.as_slice(), &[9]].concat(), &[Sampling::Greedy]),
        prompt(&[4; CONTEXT], &[Sampling::Greedy]),
        prompt(&[8; 20], &[]),
        prompt(&[&long[..25], &[2, 2]].concat(), &[random(9)]),
    ];
    for cache_bytes in [1, 100_000, 1 << 30] {
        let config = BatchConfig { cache_bytes, ..config(16) };
        let written = whole(generate_batch(&model, &prompts, &config, BatchControl::ALL));
        assert_as_alone(&model, &prompts, &config, &written);
        assert_eq!(written[4][0].finish, FinishReason::ContextFull);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn batching_changes_nothing(
        prompts in prop::collection::vec(
            (0_usize..12, prop::collection::vec(0_u32..29, 1..12), 1_usize..3),
            1..9,
        ),
        rows in 1_u64..9,
        seed in 0_u64..3,
    ) {
        let model = model(seed);
        let prompts: Vec<Prompt> = prompts
            .into_iter()
            .enumerate()
            .map(|(at, (alike, own, continuations))| {
                let tokens = (0..alike as u32).chain(own).collect();
                let sampling = |i| if i == 0 { Sampling::Greedy } else { random(at as u64) };
                Prompt { tokens, continuations: (0..continuations).map(sampling).collect() }
            })
            .collect();
        let cache_bytes = rows * 30 * model.config().cache_bytes_per_token();
        let config = BatchConfig { cache_bytes, ..config(10) };
        let written = whole(generate_batch(&model, &prompts, &config, BatchControl::ALL));
        assert_as_alone(&model, &prompts, &config, &written);
    }
}

#[test]
fn log_probabilities_are_the_models() {
    let written = write(&[prompt(&[1, 5], &[Sampling::Greedy, random(2)])], &config(6)).remove(0);
    assert!(written[0].greedy);
    for continuation in written {
        let text = [&[1, 5], continuation.tokens.as_slice()].concat();
        let ids: Vec<i64> = text.iter().map(|&token| i64::from(token)).collect();
        let tokens_bt = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, text.len()]), &Device::flex());
        let model = model(3);
        let hidden_btd = model.hidden(tokens_bt, &Positions::Sequential, &AttentionMask::Causal);
        let logits: Vec<f32> = model.logits(hidden_btd).into_data().iter::<f32>().collect();
        let rows: Vec<&[f32]> = logits.chunks(29).collect();
        let expected: f64 = (2..text.len()).map(|at| log_softmax(rows[at - 1], text[at])).sum();
        assert!((continuation.logprob - expected).abs() < 1e-4, "{} {expected}", continuation.logprob);
        assert!(continuation.logprob < 0.0);
    }
}

#[test]
fn the_caller_may_end_a_text() {
    let prompts = [prompt(&[1], &[Sampling::Greedy, random(8)]), prompt(&[2], &[Sampling::Greedy])];
    let config = BatchConfig { stop: Vec::new(), ..config(9) };
    let ends = |position: BatchPosition, tokens: &[u32]| {
        let wanted = if (position.prompt, position.continuation) == (0, 1) { 2 } else { 5 };
        tokens.len() == wanted
    };
    let control = BatchControl { is_finished: &ends, ..BatchControl::ALL };
    let written = whole(generate_batch(&model(3), &prompts, &config, control));
    let shapes: Vec<Vec<(usize, FinishReason)>> =
        written.iter().map(|of| of.iter().map(|text| (text.tokens.len(), text.finish)).collect()).collect();
    assert_eq!(
        shapes,
        [vec![(5, FinishReason::Stop), (2, FinishReason::Stop)], vec![(5, FinishReason::Stop)]]
    );
}

#[test]
fn an_interruption_leaves_texts_unfinished() {
    let prompts = [prompt(&[1], &[Sampling::Greedy]), prompt(&[2; 20], &[Sampling::Greedy])];
    let config = BatchConfig { stop: Vec::new(), cache_bytes: 1, ..config(9) };
    let checks = Cell::new(0);
    let interrupted = || {
        checks.set(checks.get() + 1);
        checks.get() > 4
    };
    let control = BatchControl { interrupted: &interrupted, ..BatchControl::ALL };
    let written = whole(generate_batch(&model(3), &prompts, &config, control));
    assert!(written.iter().flatten().all(|text| text.finish == FinishReason::Interrupted));
    assert_eq!(written[1][0].tokens.len(), 3, "the longer one is first");
    assert_eq!(written[0][0].tokens.len(), 0);
}

#[test]
fn bad_prompts_are_refused() {
    let refused = |prompt| generate_batch(&model(3), &[prompt], &config(1), BatchControl::ALL);
    assert_eq!(refused(prompt(&[], &[])), Err(GenerateError::EmptyPrompt));
    assert!(refused(prompt(&[29], &[])).is_err());
    let cold = Sampling::Random { temperature: 0.0, top_k: None, top_p: None, seed: 0 };
    assert!(matches!(refused(prompt(&[1], &[cold])), Err(GenerateError::Sampling { .. })));
    assert_eq!(write(&[], &config(1)), Vec::<Vec<Continuation>>::new());
    assert_eq!(write(&[prompt(&[1], &[Sampling::Greedy])], &config(0))[0][0].finish, FinishReason::Length);
}

#[test]
fn prompts_that_begin_alike_are_put_together() {
    let few_shot = |example: u32, question: u32| {
        prompt(&[[example; 8].as_slice(), &[question]].concat(), &[Sampling::Greedy])
    };
    let prompts = [
        few_shot(1, 1),
        few_shot(2, 1),
        prompt(&[5, 5], &[Sampling::Greedy]),
        few_shot(1, 2),
        few_shot(2, 2),
    ];
    let of = |cache_bytes| -> Vec<Vec<usize>> {
        let config = BatchConfig { cache_bytes, ..config(1) };
        batches(&prompts, &config, 10)
    };
    assert_eq!(of(1000), [vec![0, 3], vec![1, 4], vec![2]]);
    assert_eq!(of(1), [vec![0], vec![3], vec![1], vec![4], vec![2]]);
    let many = [prompt(&[1], &vec![Sampling::Greedy; 300]), prompt(&[2], &[Sampling::Greedy])];
    assert_eq!(batches(&many, &config(1), 10), [[0], [1]], "what one prompt needs is not cut");
}

#[test]
fn processes_share_the_batches() {
    let prompts: Vec<Prompt> =
        (0..7).map(|i| prompt(&[i, i + 1, 3], &[Sampling::Greedy, random(5)])).collect();
    let config = BatchConfig { cache_bytes: 50_000, ..config(8) };
    let all = write(&prompts, &config);
    let mut seen = 0;
    for rank in 0..3 {
        let selects_batch = |batch: usize| batch % 3 == rank;
        let control = BatchControl { selects_batch: &selects_batch, ..BatchControl::ALL };
        let part = generate_batch(&model(3), &prompts, &config, control).unwrap();
        for (part, all) in part.iter().zip(&all).filter_map(|(part, all)| Some((part.as_ref()?, all))) {
            assert_eq!(part, all, "to the bit");
            seen += 1;
        }
    }
    assert_eq!(seen, prompts.len());
}
