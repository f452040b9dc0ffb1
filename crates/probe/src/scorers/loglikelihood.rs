//! Log-probabilities of continuations under a model.

use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData};
use fineline_kernels::{AttentionMask, TokenScores, in_pool, token_logprobs};
use fineline_model::{KvCache, Llama, Positions};
use serde::{Deserialize, Serialize};

use crate::error::Interrupted;
use crate::requests::packing::{BatchRows, PackedBatch, PackedGroup};
use crate::requests::request::{Continuation, Request};
use crate::scorers::rank_share::RankShare;

/// The log-likelihood of a continuation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LogLikelihood {
    /// Σ log p over its tokens, in nats, summed in their order.
    pub(crate) logprob: f64,
    /// Whether every token is the most likely one.
    pub(crate) greedy: bool,
    pub(crate) n_tokens: u32,
}

impl LogLikelihood {
    /// The log-likelihood of no tokens.
    pub(crate) const NOTHING: Self = Self { logprob: 0.0, greedy: true, n_tokens: 0 };

    /// Appends the log-likelihood of the tokens that follow.
    pub(crate) fn extend(&mut self, next: Self) {
        self.logprob += next.logprob;
        self.greedy &= next.greedy;
        self.n_tokens += next.n_tokens;
    }
}

/// The log-likelihood of a continuation, and the choice to which it belongs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoredContinuation {
    pub(crate) choice: usize,
    pub(crate) score: LogLikelihood,
}

/// The log-likelihoods of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoredRequest {
    /// Index of the request.
    pub(crate) request: usize,
    /// Index of the item in the task.
    pub(crate) item: usize,
    /// Whether the context is the one shared by all items.
    pub(crate) unconditional: bool,
    /// One for each of its continuations.
    pub(crate) continuations: Vec<ScoredContinuation>,
    /// Its share of the seconds of its batch, in proportion to its tokens.
    pub(crate) seconds: f64,
}

/// Scores this rank's share of `requests`, which are packed into `groups`. Calls `interrupted` before each
/// batch.
pub(crate) fn score(
    model: &Llama,
    requests: &[&Request],
    groups: &[PackedGroup],
    share: RankShare,
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<ScoredRequest>, Interrupted> {
    let mut scored = Vec::new();
    let mut batches_before = 0;
    for PackedGroup { shared, batches } in groups {
        let mut before = None;
        for (index, rows) in batches.iter().enumerate() {
            if !share.takes(batches_before + index) {
                continue;
            }
            if interrupted() {
                return Err(Interrupted);
            }
            let start = Instant::now();
            let batch = PackedBatch::build(rows, requests, shared.len());
            let before = before.get_or_insert_with(|| in_pool(|| read(model, shared)));
            let tokens = in_pool(|| score_batch(model, before, &batch, rows.len()));
            scored.extend(of_requests(rows, requests, &batch, tokens, start.elapsed().as_secs_f64()));
        }
        batches_before += batches.len();
    }
    Ok(scored)
}

/// Keys and values of a shared prefix.
fn read(model: &Llama, tokens: &[u32]) -> KvCache {
    let mut cache = KvCache::new();
    if !tokens.is_empty() {
        let tokens_bt = TensorData::new(ids(tokens), [1, tokens.len()]);
        let tokens_bt = Tensor::from_data(tokens_bt, &model.device());
        // The last hidden states are not needed: each request predicts from tokens of its own.
        let _ = model.extend(tokens_bt, &Positions::Sequential, &AttentionMask::Causal, &mut cache);
    }
    cache
}

/// Assembles the scores of a batch's targets into those of its requests.
fn of_requests(
    rows: &BatchRows,
    requests: &[&Request],
    batch: &PackedBatch,
    tokens: TokenScores,
    seconds: f64,
) -> Vec<ScoredRequest> {
    let read: usize = rows.iter().flatten().map(|&request| requests[request].input_len()).sum();
    let unscored = |&index: &usize| {
        let request = requests[index];
        let unscored = |continuation: &Continuation| ScoredContinuation {
            choice: continuation.choice,
            score: LogLikelihood::NOTHING,
        };
        ScoredRequest {
            request: index,
            item: request.item,
            unconditional: request.unconditional,
            continuations: request.continuations.iter().map(unscored).collect(),
            seconds: seconds * request.input_len() as f64 / read as f64,
        }
    };
    let mut scored: Vec<ScoredRequest> = rows.iter().flatten().map(unscored).collect();
    let mut at = 0;
    for ((target, logprob), greedy) in batch.targets.iter().zip(tokens.logprob).zip(tokens.greedy) {
        // Targets are in the order of the requests.
        while scored[at].request != target.request {
            at += 1;
        }
        let logprob = f64::from(logprob);
        // The argmax of logits that contain a NaN is meaningless.
        let token = LogLikelihood { logprob, greedy: greedy && !logprob.is_nan(), n_tokens: 1 };
        scored[at].continuations[target.continuation].score.extend(token);
    }
    scored
}

/// Scores the targets of a batch: one pass through the layers, and the head only at the positions that
/// predict a target.
fn score_batch(model: &Llama, before: &KvCache, batch: &PackedBatch, rows: usize) -> TokenScores {
    let device = model.device();
    let (predicting, targets): (Vec<u32>, Vec<u32>) =
        batch.targets.iter().map(|target| (target.position, target.token)).unzip();
    let tokens_bt = TensorData::new(ids(&batch.tokens), [rows, batch.time]);
    let tokens_bt = Tensor::<2, Int>::from_data(tokens_bt, &device);
    let predicting_n = TensorData::new(ids(&predicting), [predicting.len()]);
    let targets_n = TensorData::new(ids(&targets), [targets.len()]);
    let positions = Positions::Explicit(batch.positions.clone());
    let attention_mask = AttentionMask::Spans(batch.spans.clone());

    let hidden_btd = if before.is_empty() {
        model.hidden(tokens_bt, &positions, &attention_mask)
    } else {
        model.hidden_with_prefix(before, tokens_bt, &positions, &attention_mask)
    };
    let width = hidden_btd.dims()[2];
    let hidden_nd = hidden_btd
        .reshape([rows * batch.time, width])
        .select(0, Tensor::<1, Int>::from_data(predicting_n, &device));
    token_logprobs(hidden_nd, model.lm_head(), Tensor::from_data(targets_n, &device))
}

fn ids(tokens: &[u32]) -> Vec<i32> {
    tokens.iter().map(|token| token.cast_signed()).collect()
}
