//! How a model represents a fixed set of texts, layer by layer.
//!
//! Each text is read up to a place drawn once and for all, and the hidden states there, at each depth, are the text's features: after the
//! embedding, after each layer, and final-normed. Depths are compared with each other and with those of earlier rounds by [`similarity`](crate::similarity).
//!
//! One place for each text: places of the same text are no independent samples, which the estimator takes them for. BOS is never the place; its hidden states are
//! the same for all texts, and often huge.

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

/// Texts that similarities can be told from.
const LEAST_TEXTS: usize = 8;

/// Tokens of a text among which the place is drawn.
const LONGEST: usize = 128;

/// Tokens of a batch, padding included.
const BATCH_TOKENS: usize = 4096;

/// The places are the same in every run.
const SEED: u64 = 0;

/// A text up to the token whose hidden states are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct TextSample {
    item: usize,
    tokens: Vec<u32>,
}

/// The texts of a task, tokenized and cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TextSamples {
    samples: Vec<TextSample>,
    clusters: Vec<Option<u32>>,
}

/// What a model makes of the texts of a task: a Gram matrix for each depth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Representation {
    /// The texts, by their place in the task's whole data.
    pub items: Vec<u32>,
    /// What each of them shares with others, if anything.
    pub clusters: Vec<Option<u32>>,
    /// After the embedding, after each layer, and final-normed.
    pub layers: Vec<GramMatrix>,
}

/// The representation of one of a suite's tasks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ScoredRepresentation {
    /// The task's place in the suite.
    pub(crate) task: usize,
    pub(crate) representation: Representation,
    pub(crate) seconds: f64,
}

impl TextSamples {
    /// The texts `selected` of `task`, which has `clusters`.
    pub(crate) fn new(
        task: &Task,
        selected: &[usize],
        clusters: &[Option<u32>],
        encoder: &RequestEncoder<'_>,
    ) -> Result<Self, ProbeError> {
        if selected.len() < LEAST_TEXTS {
            let message = format!(
                "expected at least {LEAST_TEXTS} texts to compare representations by, found {}",
                selected.len()
            );
            return Err(ProbeError::Task { task: task.name.clone(), message });
        }
        let mut selected = selected.to_vec();
        selected.sort_unstable();
        let sample = |&item: &usize| {
            let tokens =
                encoder.beginning(&task.items[item].choices[0], LONGEST).and_then(|(tokens, first)| {
                    let places = first..tokens.len();
                    if places.is_empty() {
                        return Err("its text has no tokens".to_owned());
                    }
                    let mut draw =
                        Stream::new(SEED, &format!("probe/representation/{}", task.name), item as u64);
                    Ok(tokens[..=draw.random_range(places)].to_vec())
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

    /// Puts `model` through the texts of the suite's task at this place. `interrupted` is asked before each batch.
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

    /// The texts in batches, the longest first, so that little is padding.
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

    /// Hidden states at the last token of each text of a batch, `texts × hidden` for each depth. Padding is on the right, where nothing sees
    /// it.
    fn states(&self, model: &Llama, batch: &[usize]) -> Vec<Vec<f32>> {
        let time = self.samples[batch[0]].tokens.len();
        let mut tokens = Vec::with_capacity(batch.len() * time);
        let mut places = Vec::with_capacity(batch.len());
        for (row, &text) in batch.iter().enumerate() {
            let own = &self.samples[text].tokens;
            places.push(((row * time + own.len() - 1) as u32).cast_signed());
            tokens.extend(own.iter().map(|token| token.cast_signed()));
            tokens.resize((row + 1) * time, 0);
        }
        let device = model.device();
        let tokens_bt = Tensor::<2, Int>::from_data(TensorData::new(tokens, [batch.len(), time]), &device);
        let places_n = Tensor::<1, Int>::from_data(TensorData::new(places, [batch.len()]), &device);
        let mut states = Vec::new();
        model.visit_hidden(tokens_bt, &Positions::Sequential, &AttentionMask::Causal, &mut |hidden_btd| {
            let [rows, time, width] = hidden_btd.dims();
            let at_places = hidden_btd.clone().reshape([rows * time, width]).select(0, places_n.clone());
            states.push(at_places.into_data().iter::<f32>().collect());
        });
        states
    }
}

impl Representation {
    /// How many Gram matrices have numbers that are not finite.
    pub(crate) fn non_finite(&self) -> usize {
        self.layers.iter().filter(|gram| !gram.is_finite()).count()
    }
}
