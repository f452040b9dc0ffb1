//! Text generation from one prompt.

use std::ops::ControlFlow;

use burn::tensor::{Device, Int, Tensor, TensorData};
use fineline_kernels::AttentionMask;
use fineline_random::Stream;
use rand::RngExt;
use thiserror::Error;

use crate::llama::{KvCache, Llama, Positions};

/// Settings of [`generate`].
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateConfig {
    /// Maximum number of tokens to add.
    pub max_new_tokens: usize,
    /// Method of choosing each token.
    pub sampling: Sampling,
    /// Stop tokens. The one that ends the text is part of it.
    pub stop: Vec<u32>,
}

/// Method of choosing the next token from the model's distribution.
#[derive(Clone, Debug, PartialEq)]
pub enum Sampling {
    /// The most probable token. Of equally probable ones, the first.
    Greedy,
    /// A random token.
    Random {
        /// Divisor of the logits. Below 1 sharpens the distribution, above 1 flattens it.
        temperature: f64,
        /// Number of most probable tokens to sample from.
        top_k: Option<usize>,
        /// Nucleus sampling (Holtzman et al., 2020): samples from the smallest set of most probable tokens
        /// whose total probability reaches this value.
        top_p: Option<f64>,
        /// Seed of the draws. The draw of a step depends on the seed and the step only.
        seed: u64,
    },
}

/// Result of [`generate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation {
    /// The new tokens, without the prompt.
    pub tokens: Vec<u32>,
    /// Reason for the end of the text.
    pub finish: FinishReason,
}

/// Reason for the end of a generated text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// A stop token, or in a batch, the caller's stop condition.
    Stop,
    /// `max_new_tokens` were generated.
    Length,
    /// Prompt and text fill the model's `max_position_embeddings`.
    ContextFull,
    /// The caller interrupted the generation.
    Interrupted,
}

/// Errors of text generation.
#[derive(Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum GenerateError {
    /// The prompt is empty.
    #[error("the prompt is empty, expected at least one token, such as the beginning-of-sequence token")]
    EmptyPrompt,
    /// The prompt is longer than the model's context.
    #[error("the prompt has {length} tokens, expected at most {context} (max_position_embeddings)")]
    PromptTooLong {
        /// Number of tokens in the prompt.
        length: usize,
        /// Number of tokens in the model's context.
        context: usize,
    },
    /// The prompt was encoded for another vocabulary.
    #[error(
        "the prompt contains token {token}, but the model's vocabulary has {vocab_size} tokens; \
         use the model's tokenizer"
    )]
    TokenOutsideVocabulary {
        /// The token.
        token: u32,
        /// Size of the model's vocabulary.
        vocab_size: usize,
    },
    /// A sampling parameter is out of range.
    #[error("{key} is {value}, expected {expected}")]
    Sampling {
        /// The parameter.
        key: &'static str,
        /// Its value.
        value: f64,
        /// Its valid range.
        expected: &'static str,
    },
}

/// Continues `prompt` token by token with a key-value cache, and calls `on_token` for each new token.
///
/// Stops at a stop token, after `max_new_tokens`, when prompt and text fill the model's
/// `max_position_embeddings`, or when the callback breaks.
///
/// # Errors
/// Returns an error if the prompt is empty, longer than the context or outside the vocabulary, or if a
/// sampling parameter is out of range ([`Sampling::check`]).
pub fn generate(
    model: &Llama,
    prompt: &[u32],
    config: &GenerateConfig,
    mut on_token: impl FnMut(u32) -> ControlFlow<()>,
) -> Result<Generation, GenerateError> {
    let limits = model.config();
    check_prompt(prompt, limits.vocab_size, limits.max_position_embeddings)?;
    config.sampling.check()?;
    let model = model.valid();
    let device = model.device();
    let mut cache = KvCache::new();
    let mut tokens = Vec::new();
    let mut input = prompt.to_vec();
    while tokens.len() < config.max_new_tokens {
        if prompt.len() + tokens.len() >= limits.max_position_embeddings {
            return Ok(Generation { tokens, finish: FinishReason::ContextFull });
        }
        let logits = next_logits(&model, &input, &mut cache, &device);
        let token = config.sampling.choose(&logits, tokens.len() as u64);
        tokens.push(token);
        if on_token(token).is_break() {
            return Ok(Generation { tokens, finish: FinishReason::Interrupted });
        }
        if config.stop.contains(&token) {
            return Ok(Generation { tokens, finish: FinishReason::Stop });
        }
        input = vec![token];
    }
    Ok(Generation { tokens, finish: FinishReason::Length })
}

pub(crate) fn check_prompt(prompt: &[u32], vocab_size: usize, context: usize) -> Result<(), GenerateError> {
    if prompt.is_empty() {
        return Err(GenerateError::EmptyPrompt);
    }
    if prompt.len() > context {
        return Err(GenerateError::PromptTooLong { length: prompt.len(), context });
    }
    match prompt.iter().find(|&&token| token as usize >= vocab_size) {
        Some(&token) => Err(GenerateError::TokenOutsideVocabulary { token, vocab_size }),
        None => Ok(()),
    }
}

/// Returns the logits of the token after `input`, which follows the tokens in the cache.
fn next_logits(model: &Llama, input: &[u32], cache: &mut KvCache, device: &Device) -> Vec<f32> {
    let ids: Vec<i64> = input.iter().map(|&token| i64::from(token)).collect();
    let tokens_bt = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, input.len()]), device);
    let hidden_btd = model.extend(tokens_bt, &Positions::Sequential, &AttentionMask::Causal, cache);
    let last = hidden_btd.narrow(1, input.len() - 1, 1);
    model.logits(last).into_data().iter::<f32>().collect()
}

impl Sampling {
    /// Checks the ranges of the parameters.
    ///
    /// # Errors
    /// Returns [`GenerateError::Sampling`] for the first parameter out of range.
    pub fn check(&self) -> Result<(), GenerateError> {
        let Self::Random { temperature, top_k, top_p, .. } = *self else { return Ok(()) };
        let refuse = |key, value, expected| Err(GenerateError::Sampling { key, value, expected });
        if !(temperature > 0.0 && temperature.is_finite()) {
            return refuse("temperature", temperature, "a number above 0 (use greedy decoding for 0)");
        }
        if top_k == Some(0) {
            return refuse("top_k", 0.0, "at least 1");
        }
        match top_p {
            Some(p) if !(p > 0.0 && p <= 1.0) => refuse("top_p", p, "above 0 and at most 1"),
            _ => Ok(()),
        }
    }

    /// Chooses the token of a step from the logits of the whole vocabulary.
    pub(crate) fn choose(&self, logits: &[f32], step: u64) -> u32 {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        let Self::Random { temperature, top_k, top_p, seed } = *self else {
            return order.into_iter().min_by(by_logit).expect("a vocabulary is not empty");
        };
        order.sort_unstable_by(by_logit);
        order.truncate(top_k.unwrap_or(usize::MAX));
        let largest = f64::from(logits[order[0] as usize]);
        let mut weights: Vec<f64> = order
            .iter()
            .map(|&token| ((f64::from(logits[token as usize]) - largest) / temperature).exp())
            .collect();
        if let Some(p) = top_p {
            let total: f64 = weights.iter().sum();
            let mut cumulative = 0.0;
            let below = |weight: &&f64| {
                let inside = cumulative < p * total;
                cumulative += **weight;
                inside
            };
            let kept = weights.iter().take_while(below).count();
            weights.truncate(kept);
        }
        let mut rest = Stream::new(seed, "generate", step).random::<f64>() * weights.iter().sum::<f64>();
        for (token, weight) in order.iter().zip(&weights) {
            rest -= weight;
            if rest < 0.0 {
                return *token;
            }
        }
        // Rounding can leave a remainder of a few ulps, which falls to the last token.
        order[weights.len() - 1]
    }
}

#[cfg(test)]
mod tests;
