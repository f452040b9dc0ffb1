//! Hidden states of a model for a fixed set of texts, layer by layer.
//!
//! Each text is read up to a position that is drawn once. The hidden states at this position, at each depth
//! (after the embedding, after each layer, and after the final norm), are the features of the text. Depths
//! are compared with each other and with those of earlier rounds in
//! [`similarity`](crate::metrics::similarity).
//!
//! Only one position per text is used: positions of the same text are not independent samples, which the
//! estimator requires. BOS is never used. Its hidden states are the same for all texts, and often huge.

use std::time::Instant;

use burn::tensor::{Int, Tensor, TensorData};
use fineline_kernels::{AttentionMask, in_pool};
use fineline_model::{Llama, Positions};
use fineline_random::Stream;
use rand::RngExt;
use serde::{Deserialize, Serialize};

use crate::error::{Interrupted, ProbeError};
use crate::requests::encoder::RequestEncoder;
use crate::scorers::representation::gram::GramMatrix;
use crate::tasks::task::Task;

/// Minimum number of texts from which similarities can be estimated.
const LEAST_TEXTS: usize = 8;

/// Maximum position, in tokens.
const LONGEST: usize = 128;

/// Tokens of a batch, including padding.
const BATCH_TOKENS: usize = 4096;

/// The positions are the same in every run.
const SEED: u64 = 0;

/// A text up to the token whose hidden states are used.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TextSample {
    item: usize,
    tokens: Vec<u32>,
}

/// The texts of a task, tokenized and truncated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextSamples {
    samples: Vec<TextSample>,
    clusters: Vec<Option<u32>>,
}

/// Gram matrices of the hidden states of a task's texts, one per depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Representation {
    /// Indices of the texts in the complete data of the task.
    pub items: Vec<u32>,
    /// Cluster of each text, if any.
    pub clusters: Vec<Option<u32>>,
    /// After the embedding, after each layer, and after the final norm.
    pub layers: Vec<GramMatrix>,
}

/// The representation of one of a suite's tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoredRepresentation {
    /// Index of the task in the suite.
    pub(crate) task: usize,
    pub(crate) representation: Representation,
    pub(crate) seconds: f64,
}

impl TextSamples {
    /// The texts `selected` of `task`, whose items have these `clusters`.
    pub(crate) fn new(
        task: &Task,
        selected: &[usize],
        clusters: &[Option<u32>],
        encoder: &RequestEncoder<'_>,
    ) -> Result<Self, ProbeError> {
        if selected.len() < LEAST_TEXTS {
            let message = format!("expected at least {LEAST_TEXTS} texts, found {}", selected.len());
            return Err(ProbeError::Task { task: task.name.clone(), message });
        }
        let mut selected = selected.to_vec();
        selected.sort_unstable();
        let sample = |&item: &usize| {
            let tokens =
                encoder.beginning(&task.items[item].choices[0], LONGEST).and_then(|(tokens, first)| {
                    let positions = first..tokens.len();
                    if positions.is_empty() {
                        return Err("the text has no tokens".to_owned());
                    }
                    let mut draw =
                        Stream::new(SEED, &format!("probe/representation/{}", task.name), item as u64);
                    Ok(tokens[..=draw.random_range(positions)].to_vec())
                });
            tokens.map(|tokens| TextSample { item, tokens }).map_err(|message| ProbeError::Item {
                task: task.name.clone(),
                item,
                message,
            })
        };
        Ok(Self {
            samples: selected.iter().map(sample).collect::<Result<_, _>>()?,
            clusters: selected.iter().map(|&item| clusters[item]).collect(),
        })
    }

    /// Computes the representation of the suite's task of this index. Calls `interrupted` before each batch.
    pub(crate) fn represent(
        &self,
        model: &Llama,
        task: usize,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<ScoredRepresentation, Interrupted> {
        let start = Instant::now();
        let texts = self.samples.len();
        let width = model.config().hidden_size;
        let mut features = vec![vec![0.0; texts * width]; model.config().num_hidden_layers + 2];
        for batch in self.batches() {
            if interrupted() {
                return Err(Interrupted);
            }
            let states = in_pool(|| self.states(model, &batch));
            for (features, states) in features.iter_mut().zip(states) {
                for (&text, state) in batch.iter().zip(states.chunks(width)) {
                    features[text * width..][..width].copy_from_slice(state);
                }
            }
        }
        let representation = Representation {
            items: self.samples.iter().map(|sample| sample.item as u32).collect(),
            clusters: self.clusters.clone(),
            layers: features.iter().map(|features| GramMatrix::of(features, texts)).collect(),
        };
        Ok(ScoredRepresentation { task, representation, seconds: start.elapsed().as_secs_f64() })
    }

    /// The texts in batches, the longest first, to keep padding small.
    fn batches(&self) -> Vec<Vec<usize>> {
        let len = |text: usize| self.samples[text].tokens.len();
        let mut order: Vec<usize> = (0..self.samples.len()).collect();
        order.sort_by_key(|&text| (std::cmp::Reverse(len(text)), text));
        let mut batches: Vec<Vec<usize>> = Vec::new();
        for text in order {
            match batches.last_mut() {
                Some(batch) if (batch.len() + 1) * len(batch[0]) <= BATCH_TOKENS => batch.push(text),
                _ => batches.push(vec![text]),
            }
        }
        batches
    }

    /// Hidden states at the last token of each text of a batch, `[texts, hidden]` for each depth. Padding is
    /// on the right, where no token attends to it.
    fn states(&self, model: &Llama, batch: &[usize]) -> Vec<Vec<f32>> {
        let time = self.samples[batch[0]].tokens.len();
        let mut tokens = Vec::with_capacity(batch.len() * time);
        let mut positions = Vec::with_capacity(batch.len());
        for (row, &text) in batch.iter().enumerate() {
            let own = &self.samples[text].tokens;
            positions.push(((row * time + own.len() - 1) as u32).cast_signed());
            tokens.extend(own.iter().map(|token| token.cast_signed()));
            tokens.resize((row + 1) * time, 0);
        }
        let device = model.device();
        let tokens_bt = Tensor::<2, Int>::from_data(TensorData::new(tokens, [batch.len(), time]), &device);
        let positions_n = Tensor::<1, Int>::from_data(TensorData::new(positions, [batch.len()]), &device);
        let mut states = Vec::new();
        model.visit_hidden(tokens_bt, &Positions::Sequential, &AttentionMask::Causal, &mut |hidden_btd| {
            let [rows, time, width] = hidden_btd.dims();
            let at_positions =
                hidden_btd.clone().reshape([rows * time, width]).select(0, positions_n.clone());
            states.push(at_positions.into_data().iter::<f32>().collect());
        });
        states
    }
}

impl Representation {
    /// Number of Gram matrices with values that are not finite.
    pub(crate) fn non_finite(&self) -> usize {
        self.layers.iter().filter(|gram| !gram.is_finite()).count()
    }
}
