//! Models, tasks and reference scores of the tests.

use std::path::PathBuf;

use burn::tensor::{Int, Tensor, TensorData};
use fineline_data::{Tokenizer, train_bpe};
use fineline_kernels::AttentionMask;
use fineline_model::{Llama, LlamaConfig, Positions};
use fineline_probe::{CodeExecution, Item, SuiteOptions, Task, TaskKind};

/// The directory of the suites that come with fineline.
pub(crate) fn shipped_suites() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../configs/probes"))
}

/// A tokenizer of this many tokens for texts like `text`.
pub(crate) fn tokenizer_of(text: &str, tokens: usize) -> Tokenizer {
    let directory = tempfile::tempdir().unwrap();
    train_bpe((0..3).map(|_| Ok(text.to_owned())), tokens, &directory.path().join("tokenizer.json")).unwrap()
}

/// A small model for the tokens of a tokenizer.
pub(crate) fn small_config(tokenizer: &Tokenizer) -> LlamaConfig {
    LlamaConfig {
        vocab_size: tokenizer.vocab_size(),
        hidden_size: 32,
        intermediate_size: 48,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        ..LlamaConfig::default()
    }
}

/// All items of all tasks, for a model with a context length of `max_len` tokens.
pub(crate) fn options(tokenizer: &Tokenizer, max_len: usize) -> SuiteOptions<'_> {
    SuiteOptions { tokenizer, max_len, limit: None, tasks: &[], code: CodeExecution::Forbidden }
}

/// A task with these items and otherwise empty fields.
pub(crate) fn task(kind: TaskKind, items: Vec<Item>) -> Task {
    Task {
        name: kind.name().into(),
        domain: "testing".into(),
        kind,
        shots: 0,
        chance: matches!(
            kind,
            TaskKind::MultipleChoice | TaskKind::FullPromptMeanCe | TaskKind::SuffixMeanCe
        )
        .then_some(0.5),
        signal: None,
        source: None,
        licence: None,
        version: None,
        target_delimiter: " ".into(),
        unconditional: None,
        generation: None,
        template: String::new(),
        items,
    }
}

/// Log-probability and greediness of the tokens after the first `read`, with the sequence alone in the model
/// and the softmax in float64.
pub(crate) fn naive(model: &Llama, tokens: &[u32], read: usize) -> (f64, bool) {
    let ids: Vec<i32> = tokens.iter().map(|&id| id.cast_signed()).collect();
    let input = TensorData::new(ids[..ids.len() - 1].to_vec(), [1, ids.len() - 1]);
    let input = Tensor::<2, Int>::from_data(input, &model.device());
    let logits =
        model.logits(model.hidden(input, &Positions::Sequential, &AttentionMask::Causal)).into_data();
    let logits: Vec<f64> = logits.iter::<f64>().collect();
    let (mut logprob, mut greedy) = (0.0, true);
    for (row, &target) in logits.chunks(model.config().vocab_size).zip(&tokens[1..]).skip(read - 1) {
        let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        logprob += row[target as usize] - max - row.iter().map(|x| (x - max).exp()).sum::<f64>().ln();
        greedy &= row[target as usize] >= max;
    }
    (logprob, greedy)
}
