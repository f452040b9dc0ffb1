//! Many texts written at once: the weights are read once a token for all of them.

use burn::tensor::{Device, Int, Tensor, TensorData};
use fineline_kernels::{AttentionMask, KeySpan, in_pool};
use rayon::prelude::*;

use crate::generate::{FinishReason, GenerateError, Sampling, check_prompt};
use crate::llama::{KvCache, Llama, Positions};

/// Tokens of prompts, padding included, that go through the layers at a time.
const PREFILL_TOKENS: usize = 4096;

/// Rows of a batch at most: more of them hardly make a token cheaper.
const ROWS: usize = 128;

/// A prompt, and how it is continued.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    /// At least one token.
    pub tokens: Vec<u32>,
    /// How the tokens of each continuation are chosen.
    pub continuations: Vec<Sampling>,
}

/// How [`generate_batch`] continues prompts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchConfig {
    /// Most tokens to add to each.
    pub max_new_tokens: usize,
    /// Tokens that end a text; the one that did is part of it.
    pub stop: Vec<u32>,
    /// Bytes that the cache of a batch may take. The continuations of a single prompt take what they need.
    pub cache_bytes: u64,
}

/// A continuation of a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BatchPosition {
    /// Which prompt.
    pub prompt: usize,
    /// Which of its continuations.
    pub continuation: usize,
}

/// What was written after a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Continuation {
    /// The new tokens.
    pub tokens: Vec<u32>,
    /// Σ log p over them, in nats, under the model itself: whatever temperature they were drawn at.
    pub logprob: f64,
    /// Whether each was the likeliest one.
    pub greedy: bool,
    /// Why there are no more.
    pub finish: FinishReason,
}

/// What the caller of [`generate_batch`] decides on the way.
#[derive(Clone, Copy)]
pub struct BatchControl<'a> {
    /// Whether a text ends, from its tokens so far.
    pub is_finished: &'a (dyn Fn(BatchPosition, &[u32]) -> bool + Sync),
    /// Asked before each step whether to stop.
    pub interrupted: &'a dyn Fn() -> bool,
    /// Whether to write the batch of this number: what it leaves may be for other processes. A batch is the same whoever writes it.
    pub selects_batch: &'a dyn Fn(usize) -> bool,
}

impl BatchControl<'_> {
    /// Everything, to its end.
    pub const ALL: Self =
        Self { is_finished: &|_, _| false, interrupted: &|| false, selects_batch: &|_| true };
}

/// Continues every prompt in every way that it asks for. The results are in the order of the prompts, `None` for those of batches not taken.
///
/// Each text is what [`generate`](crate::generate()) makes of it alone with the same [`Sampling`], up to rounding: the draw of a step depends on the seed and
/// the step, not on the batch. A text ends as there, and where `is_finished` says so. What is unfinished when interrupted stays so
/// ([`FinishReason::Interrupted`]).
///
/// Prompts that begin alike are put together, and what they begin with is read once.
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
    /// One that was not begun.
    fn interrupted() -> Self {
        Self { tokens: Vec::new(), logprob: 0.0, greedy: true, finish: FinishReason::Interrupted }
    }
}

/// Distributes the prompts over batches, each a list of prompts by their index: those that share more than half of their tokens together, the
/// longest first.
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
            // Much shorter ones would be padding for the most part.
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

/// Prompts of which neighbours in alphabetical order share more than half, and all others together; each the longest first.
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

/// How many tokens both begin with.
fn shared(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// A text being written: a row of the batch.
struct BatchRow<'a> {
    position: BatchPosition,
    sampling: &'a Sampling,
    prompt_len: usize,
    /// Padding before the part of the prompt that isn't shared.
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

/// The rows of a batch: what they have seen, and the logits of what comes next.
struct BatchRows<'a> {
    texts: Vec<BatchRow<'a>>,
    cache: KvCache,
    /// Tokens that all prompts begin with.
    prefix: usize,
}

impl<'a> BatchGenerator<'a> {
    /// Writes the texts of a batch, all to their ends or up to the interruption.
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

    /// Reads the prompts: what all begin with once, the rest of each in rows padded on the left, as many at a time as the budget of tokens
    /// allows. Returns nothing if interrupted.
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
        // At least one token is left to each, whose logits are its own.
        let prefix = alike.min(shortest - 1);
        let time = longest - prefix;
        let mut before = KvCache::new();
        if prefix > 0 {
            let tokens_bt = self.tokens(&first[..prefix], 1);
            let read =
                || self.model.extend(tokens_bt, &Positions::Sequential, &AttentionMask::Causal, &mut before);
            in_pool(read);
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

    /// Reads what follows the first `prefix` tokens of each prompt, in rows of `time`; the logits after each.
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

    /// Reads the last token of every text; the logits of the next.
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

    /// Logits of hidden states `[rows, 1, hidden]`, row by row.
    fn logits(&self, hidden_btd: Tensor<3>) -> Vec<Vec<f32>> {
        let logits: Vec<f32> = self.model.logits(hidden_btd).into_data().iter::<f32>().collect();
        logits.chunks(self.model.config().vocab_size).map(<[f32]>::to_vec).collect()
    }

    /// Adds a token to every text that hasn't ended.
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

    /// Moves the texts that have ended to `ended` once a quarter of the rows are theirs: by then a copy of the cache costs less than the steps that
    /// they would still take part in.
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

/// What a token sees that stands behind a shared prefix and its row's padding.
fn span(prefix: usize, padding: usize) -> KeySpan {
    KeySpan { prefix: 0..prefix as u32, own_start: (prefix + padding) as u32 }
}

/// The log-probability of a token, in nats.
fn log_softmax(logits: &[f32], token: u32) -> f64 {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    f64::from(logits[token as usize]) - largest - sum.ln()
}

#[cfg(test)]
mod tests;
