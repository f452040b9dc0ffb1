//! Log-probabilities of continuations under a model.

use burn::tensor::{Int, Tensor, TensorData};
use fineline_kernels::{TokenScores, Visibility, in_pool, token_logprobs};
use fineline_model::{Llama, Positions};

use crate::pack::{Batch, Rows};
use crate::request::Request;

/// How a model scored a continuation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LogLikelihood {
    /// Σ log p over its tokens, in nats, added up in their order.
    pub(crate) logprob: f64,
    /// Whether every token was the likeliest one.
    pub(crate) greedy: bool,
    pub(crate) n_tokens: u32,
}

impl LogLikelihood {
    /// Of no tokens.
    pub(crate) const NOTHING: Self = Self { logprob: 0.0, greedy: true, n_tokens: 0 };

    /// Appends what comes after.
    pub(crate) fn extend(&mut self, next: Self) {
        self.logprob += next.logprob;
        self.greedy &= next.greedy;
        self.n_tokens += next.n_tokens;
    }
}

/// A round was stopped before its end; nothing of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the probe round was interrupted")]
pub struct Interrupted;

/// Scores every continuation of `requests`, packed into `batches`. `interrupted` is asked before each batch.
pub(crate) fn score(
    model: &Llama,
    requests: &[Request],
    batches: &[Rows],
    interrupted: &dyn Fn() -> bool,
) -> Result<Vec<Vec<LogLikelihood>>, Interrupted> {
    let mut scores: Vec<Vec<LogLikelihood>> =
        requests.iter().map(|request| vec![LogLikelihood::NOTHING; request.continuations.len()]).collect();
    for rows in batches {
        if interrupted() {
            return Err(Interrupted);
        }
        let batch = Batch::build(rows, requests);
        let tokens = in_pool(|| score_batch(model, &batch, rows.len()));
        for ((target, logprob), greedy) in batch.targets.iter().zip(tokens.logprob).zip(tokens.greedy) {
            let logprob = f64::from(logprob);
            // The argmax of logits with a NaN among them means nothing.
            let token = LogLikelihood { logprob, greedy: greedy && !logprob.is_nan(), n_tokens: 1 };
            scores[target.request][target.continuation].extend(token);
        }
    }
    Ok(scores)
}

/// Scores the targets of a batch: one pass through the layers, and the head at the places that predict a target.
fn score_batch(model: &Llama, batch: &Batch, rows: usize) -> TokenScores {
    let device = model.device();
    let ids = |ids: Vec<u32>| ids.into_iter().map(u32::cast_signed).collect::<Vec<i32>>();
    let (places, targets) = batch.targets.iter().map(|target| (target.place, target.token)).unzip();
    let tokens_bt = TensorData::new(ids(batch.tokens.clone()), [rows, batch.time]);
    let places_n = TensorData::new(ids(places), [batch.targets.len()]);
    let targets_n = TensorData::new(ids(targets), [batch.targets.len()]);

    let hidden_btd = model.hidden(
        Tensor::from_data(tokens_bt, &device),
        &Positions::Explicit(batch.positions.clone()),
        &Visibility::Spans(batch.spans.clone()),
    );
    let width = hidden_btd.dims()[2];
    let hidden_nd = hidden_btd
        .reshape([rows * batch.time, width])
        .select(0, Tensor::<1, Int>::from_data(places_n, &device));
    token_logprobs(hidden_nd, model.lm_head(), Tensor::from_data(targets_n, &device))
}
