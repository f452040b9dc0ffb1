//! Batched text generation, which reads the weights once per step for all texts.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fineline_kernels::{AttentionMask, KeySpan, in_pool};
use rayon::prelude::*;

use crate::generate::{FinishReason, GenerateError, Sampling, check_prompt};
use crate::llama::{KvCache, Llama, Positions};

/// Number of prompt tokens, padding included, per prefill pass.
const PREFILL_TOKENS: usize = 4096;

/// Maximum number of rows in a batch. More rows hardly reduce the cost of a token.
const ROWS: usize = 128;

/// A prompt and its continuations.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// The tokens, at least one.
    pub tokens: Vec<u32>,
    /// Sampling method of each continuation.
    pub continuations: Vec<Sampling>,
}

/// Settings of [`generate_batch`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Maximum number of tokens to add to each prompt.
    pub max_new_tokens: usize,
    /// Stop tokens. The one that ends a text is part of it.
    pub stop: Vec<u32>,
    /// Maximum size of a batch's cache, in bytes. The continuations of a single prompt may exceed it.
    pub cache_bytes: u64,
}

/// Index of a continuation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchPosition {
    /// Index of the prompt.
    pub prompt: usize,
    /// Index among the continuations of the prompt.
    pub continuation: usize,
}

/// A generated continuation.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuation {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// Sum of the tokens' log-probabilities, in nats, under the model itself, that is, at temperature 1.
    pub logprob: f64,
    /// Whether every token was the most probable one.
    pub greedy: bool,
    /// Reason for the end of the text.
    pub finish: FinishReason,
}

/// Callbacks of [`generate_batch`].
#[derive(Clone, Copy)]
pub struct BatchControl<'a> {
    /// Returns whether a text is finished, given its tokens so far.
    pub is_finished: &'a (dyn Fn(BatchPosition, &[u32]) -> bool + Sync),
    /// Returns whether to stop. Called before each step.
    pub interrupted: &'a dyn Fn() -> bool,
    /// Returns whether to generate the batch of this index. Ranks share the batches this way. The content of
    /// a batch doesn't depend on the rank.
    pub selects_batch: &'a dyn Fn(usize) -> bool,
}

impl BatchControl<'_> {
    /// Generates all batches to their end.
    pub const ALL: Self =
        Self { is_finished: &|_, _| false, interrupted: &|| false, selects_batch: &|_| true };
}

/// Generates all continuations of all prompts. Results are in the order of the prompts, and `None` for
/// prompts in batches that weren't selected.
///
/// Each text equals the result of [`generate`](crate::generate()) for its prompt and [`Sampling`], up to
/// rounding: the draw of a step depends on the seed and the step, not on the batch. A text also ends if
/// `is_finished` returns true. Texts that are unfinished at an interruption end with
/// [`FinishReason::Interrupted`].
///
/// Prompts with a common prefix are batched together, and the prefix is computed once.
///
/// # Errors
/// Returns an error if a prompt is empty, longer than the context or outside the vocabulary, or if a sampling
/// parameter is out of range.
pub fn generate_batch(
    model: &Llama,
    prompts: &[Prompt],
    config: &BatchConfig,
    control: BatchControl<'_>,
) -> Result<Vec<Option<Vec<Continuation>>>, GenerateError> {
    let limits = model.config();
    for prompt in prompts {
        check_prompt(&prompt.tokens, limits.vocab_size, limits.max_position_embeddings)?;
        prompt.continuations.iter().try_for_each(Sampling::check)?;
    }
    let writer = BatchGenerator {
        model: model.valid(),
        device: model.device(),
        prompts,
        config,
        is_finished: control.is_finished,
    };
    let nothing = |prompt: &Prompt| prompt.continuations.is_empty().then(Vec::new);
    let mut written: Vec<Option<Vec<Continuation>>> = prompts.iter().map(nothing).collect();
    let batches = batches(prompts, config, limits.cache_bytes_per_token());
    for (_, batch) in batches.iter().enumerate().filter(|(number, _)| (control.selects_batch)(*number)) {
        for &prompt in batch {
            written[prompt] = Some(vec![Continuation::interrupted(); prompts[prompt].continuations.len()]);
        }
        for BatchRow { position, continuation, .. } in writer.write(batch, control.interrupted) {
            if let Some(continuations) = &mut written[position.prompt] {
                continuations[position.continuation] = continuation;
            }
        }
    }
    Ok(written)
}

impl Continuation {
    /// A continuation that wasn't started.
    fn interrupted() -> Self {
        Self { tokens: Vec::new(), logprob: 0.0, greedy: true, finish: FinishReason::Interrupted }
    }
}

/// Distributes prompts over batches, each a list of prompt indices. Prompts that share more than half of
/// their tokens go together, the longest first.
fn batches(prompts: &[Prompt], config: &BatchConfig, bytes_per_token: u64) -> Vec<Vec<usize>> {
    let mut batches = Vec::new();
    for family in families(prompts) {
        let mut batch: Vec<usize> = Vec::new();
        let mut rows = 0;
        for prompt in family {
            let Prompt { tokens, continuations } = &prompts[prompt];
            let longest = batch.first().map_or(tokens, |&first| &prompts[first].tokens).len();
            let row_bytes = bytes_per_token * (longest + config.max_new_tokens) as u64;
            let capacity = ((config.cache_bytes / row_bytes.max(1)) as usize).min(ROWS);
            // Much shorter prompts would be mostly padding.
            let is_full = rows + continuations.len() > capacity || 2 * tokens.len() < longest;
            if is_full && !batch.is_empty() {
                batches.push(std::mem::take(&mut batch));
                rows = 0;
            }
            batch.push(prompt);
            rows += continuations.len();
        }
        batches.extend((!batch.is_empty()).then_some(batch));
    }
    batches
}

/// Groups prompts whose lexicographic neighbors share more than half of their tokens. All other prompts form
/// one group. Each group is sorted by length, the longest first.
fn families(prompts: &[Prompt]) -> Vec<Vec<usize>> {
    let tokens = |prompt: &usize| prompts[*prompt].tokens.as_slice();
    let is_continued = |prompt: &usize| !prompts[*prompt].continuations.is_empty();
    let mut order: Vec<usize> = (0..prompts.len()).filter(is_continued).collect();
    order.sort_by(|a, b| tokens(a).cmp(tokens(b)).then(a.cmp(b)));
    let are_kin = |a: &usize, b: &usize| {
        let (a, b) = (tokens(a), tokens(b));
        2 * shared(a, b) > a.len().max(b.len())
    };
    let (mut families, mut others) = (Vec::new(), Vec::new());
    for family in order.chunk_by(are_kin) {
        if family.len() > 1 {
            families.push(family.to_vec());
        } else {
            others.extend_from_slice(family);
        }
    }
    families.push(others);
    for family in &mut families {
        family.sort_by_key(|prompt| (std::cmp::Reverse(tokens(prompt).len()), *prompt));
    }
    families
}

/// Returns the length of the common prefix.
fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A text in progress: a row of the batch.
struct BatchRow<'a> {
    position: BatchPosition,
    sampling: &'a Sampling,
    prompt_len: usize,
    /// Padding between the shared prefix and the rest of the prompt.
    padding: usize,
    continuation: Continuation,
    has_ended: bool,
}

struct BatchGenerator<'a> {
    model: Llama,
    device: Device,
    prompts: &'a [Prompt],
    config: &'a BatchConfig,
    is_finished: &'a (dyn Fn(BatchPosition, &[u32]) -> bool + Sync),
}

/// The rows of a batch, with their cache.
struct BatchRows<'a> {
    texts: Vec<BatchRow<'a>>,
    cache: KvCache,
    /// Number of tokens of the common prefix of all prompts.
    prefix: usize,
}

impl<'a> BatchGenerator<'a> {
    /// Generates the texts of a batch until all are finished or an interruption.
    fn write(&self, batch: &[usize], interrupted: &dyn Fn() -> bool) -> Vec<BatchRow<'a>> {
        let mut ended = Vec::new();
        if interrupted() {
            return ended;
        }
        let Some((mut rows, mut logits)) = self.read(batch, interrupted) else { return ended };
        loop {
            self.choose(&mut rows.texts, &logits);
            in_pool(|| self.compact(&mut rows, &mut ended));
            if rows.texts.iter().all(|text| text.has_ended) || interrupted() {
                ended.append(&mut rows.texts);
                return ended;
            }
            logits = in_pool(|| self.step(&mut rows));
        }
    }

    /// Prefills the cache: the common prefix once, then the rest of each prompt in left-padded rows, several
    /// at a time within the token budget. Returns `None` if interrupted.
    fn read(
        &self,
        batch: &[usize],
        interrupted: &dyn Fn() -> bool,
    ) -> Option<(BatchRows<'a>, Vec<Vec<f32>>)> {
        let tokens = |prompt: &usize| self.prompts[*prompt].tokens.as_slice();
        let first = tokens(&batch[0]);
        let alike = batch.iter().map(|prompt| shared(first, tokens(prompt))).min().unwrap_or(0);
        let shortest = batch.iter().map(|prompt| tokens(prompt).len()).min().unwrap_or(0);
        let longest = batch.iter().map(|prompt| tokens(prompt).len()).max().unwrap_or(0);
        // Each prompt keeps at least one token, which yields its own logits.
        let prefix = alike.min(shortest - 1);
        let time = longest - prefix;
        let mut before = KvCache::new();
        if prefix > 0 {
            let tokens_bt = self.tokens(&first[..prefix], 1);
            in_pool(|| {
                self.model.extend(tokens_bt, &Positions::Sequential, &AttentionMask::Causal, &mut before)
            });
        }
        let (mut texts, mut caches, mut logits) = (Vec::new(), Vec::new(), Vec::new());
        for chunk in batch.chunks((PREFILL_TOKENS / time).max(1)) {
            if interrupted() {
                return None;
            }
            let mut cache = before.rows(&vec![0; chunk.len()], &self.device);
            let rest: Vec<&[u32]> = chunk.iter().map(tokens).collect();
            let of_prompts = in_pool(|| self.read_rest(&rest, prefix, time, &mut cache));
            let mut rows = Vec::new();
            for (row, (&prompt, of_prompt)) in chunk.iter().zip(of_prompts).enumerate() {
                for continuation in 0..self.prompts[prompt].continuations.len() {
                    rows.push(row);
                    logits.push(of_prompt.clone());
                    texts.push(self.text(BatchPosition { prompt, continuation }, longest));
                }
            }
            let is_repeated = rows.len() > chunk.len();
            caches.push(if is_repeated { cache.rows(&rows, &self.device) } else { cache });
        }
        let cache = KvCache::stacked(&caches, self.config.max_new_tokens);
        Some((BatchRows { texts, cache, prefix }, logits))
    }

    fn text(&self, position: BatchPosition, longest: usize) -> BatchRow<'a> {
        let prompt = &self.prompts[position.prompt];
        let prompt_len = prompt.tokens.len();
        BatchRow {
            position,
            sampling: &prompt.continuations[position.continuation],
            prompt_len,
            padding: longest - prompt_len,
            continuation: Continuation::interrupted(),
            has_ended: false,
        }
    }

    /// Prefills the tokens after the first `prefix` tokens of each prompt, in rows of `time` tokens. Returns
    /// the logits after each prompt.
    fn read_rest(
        &self,
        prompts: &[&[u32]],
        prefix: usize,
        time: usize,
        cache: &mut KvCache,
    ) -> Vec<Vec<f32>> {
        let (mut tokens, mut positions, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for prompt in prompts {
            let rest = &prompt[prefix..];
            let padding = time - rest.len();
            tokens.extend(std::iter::repeat_n(0, padding).chain(rest.iter().copied()));
            positions.extend((0..time).map(|at| (prefix + at.saturating_sub(padding)) as u32));
            spans.extend((0..time).map(|_| span(prefix, padding)));
        }
        let hidden_btd = self.model.extend(
            self.tokens(&tokens, prompts.len()),
            &Positions::Explicit(positions),
            &AttentionMask::Spans(spans),
            cache,
        );
        self.logits(hidden_btd.narrow(1, time - 1, 1))
    }

    /// Feeds the last token of every text, and returns the logits of the next tokens.
    fn step(&self, rows: &mut BatchRows) -> Vec<Vec<f32>> {
        let (mut tokens, mut positions, mut spans) = (Vec::new(), Vec::new(), Vec::new());
        for text in &rows.texts {
            let written = &text.continuation.tokens;
            tokens.push(written.last().copied().unwrap_or(0));
            positions.push((text.prompt_len + written.len()).saturating_sub(1) as u32);
            spans.push(span(rows.prefix, text.padding));
        }
        let hidden_btd = self.model.extend(
            self.tokens(&tokens, rows.texts.len()),
            &Positions::Explicit(positions),
            &AttentionMask::Spans(spans),
            &mut rows.cache,
        );
        self.logits(hidden_btd)
    }

    fn tokens(&self, tokens: &[u32], rows: usize) -> Tensor<2, Int> {
        let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
        Tensor::from_data(TensorData::new(ids, [rows, tokens.len() / rows]), &self.device)
    }

    /// Returns the logits of hidden states `[rows, 1, hidden]`, row by row.
    fn logits(&self, hidden_btd: Tensor<3>) -> Vec<Vec<f32>> {
        let logits: Vec<f32> = self.model.logits(hidden_btd).into_data().iter::<f32>().collect();
        logits.chunks(self.model.config().vocab_size).map(<[f32]>::to_vec).collect()
    }

    /// Adds a token to every unfinished text.
    fn choose(&self, texts: &mut [BatchRow], logits: &[Vec<f32>]) {
        texts.par_iter_mut().zip(logits).filter(|(text, _)| !text.has_ended).for_each(|(text, logits)| {
            let context = self.model.config().max_position_embeddings;
            let length = text.continuation.tokens.len();
            text.continuation.finish = if length >= self.config.max_new_tokens {
                FinishReason::Length
            } else if text.prompt_len + length >= context {
                FinishReason::ContextFull
            } else {
                self.add_token(text, logits);
                return;
            };
            text.has_ended = true;
        });
    }

    fn add_token(&self, text: &mut BatchRow, logits: &[f32]) {
        let written = &mut text.continuation;
        let token = text.sampling.choose(logits, written.tokens.len() as u64);
        written.logprob += log_softmax(logits, token);
        written.greedy &= token == Sampling::Greedy.choose(logits, 0);
        written.tokens.push(token);
        if self.config.stop.contains(&token) || (self.is_finished)(text.position, &written.tokens) {
            written.finish = FinishReason::Stop;
            text.has_ended = true;
        } else if written.tokens.len() >= self.config.max_new_tokens {
            written.finish = FinishReason::Length;
            text.has_ended = true;
        }
    }

    /// Moves finished texts to `ended` once they occupy a quarter of the rows. A copy of the cache then costs
    /// less than further steps with these rows.
    fn compact(&self, rows: &mut BatchRows<'a>, ended: &mut Vec<BatchRow<'a>>) {
        let live: Vec<usize> = (0..rows.texts.len()).filter(|&row| !rows.texts[row].has_ended).collect();
        if live.is_empty() || 4 * live.len() > 3 * rows.texts.len() {
            return;
        }
        rows.cache = rows.cache.rows(&live, &self.device);
        let (has_ended, texts) = std::mem::take(&mut rows.texts).into_iter().partition(|text| text.has_ended);
        rows.texts = texts;
        ended.extend::<Vec<_>>(has_ended);
    }
}

/// The keys that a token attends to: the shared prefix, and its row after the padding.
fn span(prefix: usize, padding: usize) -> KeySpan {
    KeySpan { prefix: 0..prefix as u32, own_start: (prefix + padding) as u32 }
}

/// Returns the log-probability of a token, in nats.
fn log_softmax(logits: &[f32], token: u32) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    f64::from(logits[token as usize]) - largest - sum.ln()
}

#[cfg(test)]
mod tests;
