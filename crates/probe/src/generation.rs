//! Tasks in which the model writes its answers: prompts, the texts after them, what they are worth.

use std::sync::Arc;

use fineline_data::Tokenizer;
use fineline_model::{BatchConfig, Continuation, Finish, Llama, Prompt, Sampling, generate_batch};
use fineline_random::Stream;
use rand::Rng;
use rayon::prelude::*;

use crate::answers::Verdict;
use crate::items::ItemRow;
use crate::rules::GenerationRules;
use crate::sandbox::{Outcome, Sandbox};
use crate::score::Interrupted;
use crate::task::{Item, Kind, Task};

/// Bytes that the caches of a batch may take.
const CACHE_BYTES: u64 = 512 << 20;

/// Whether programs that a model wrote may be run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodeExecution<'a> {
    /// A suite with tasks that need it is refused.
    #[default]
    Forbidden,
    /// In a sandbox, by this Python, or by the `python3` on the path. Where there can be no sandbox, such a suite is refused too.
    Allowed(Option<&'a std::path::Path>),
}

/// The prompts of a task, tokenized, and what its answers are judged with.
#[derive(Clone, Debug)]
pub(crate) struct WrittenTask {
    rules: GenerationRules,
    tokenizer: Tokenizer,
    /// Of each item that is asked, in their order.
    prompts: Vec<Prompt>,
    max_new_tokens: usize,
    /// The texts that end an answer, EOS among them.
    until: Vec<String>,
    /// Where programs are run, if the task is one of code.
    sandbox: Option<Arc<Sandbox>>,
    /// Prompts that lost tokens on their left to fit.
    pub(crate) truncated: usize,
}

/// An attempt at an item.
#[derive(Debug)]
struct Attempt {
    text: String,
    continuation: Continuation,
}

/// What a filter left of the attempts at an item.
#[derive(Debug)]
struct Judged<'a> {
    filter: Option<&'a str>,
    /// Which of those that it left.
    number: usize,
    answer: String,
}

impl WrittenTask {
    /// Tokenizes the prompts of the `selected` items of a checked task. An error is what is wrong with which item, or with the task as a whole.
    pub(crate) fn new(
        task: &Task,
        rules: &GenerationRules,
        selected: &[usize],
        tokenizer: &Tokenizer,
        max_len: usize,
        code: CodeExecution,
    ) -> Result<Self, (Option<usize>, String)> {
        let of_task = |message| (None, message);
        let sandbox = match (task.kind, code) {
            (Kind::Code, CodeExecution::Forbidden) => return Err(of_task(FORBIDDEN.to_owned())),
            (Kind::Code, CodeExecution::Allowed(python)) => {
                Some(Arc::new(Sandbox::new(python).map_err(of_task)?))
            }
            _ => None,
        };
        // The harness refuses a model that can't read more than it is to write; half and half is of more use.
        let max_new_tokens = rules.max_new_tokens.min(max_len / 2);
        if max_new_tokens < rules.max_new_tokens {
            tracing::warn!(
                task = task.name,
                max_new_tokens,
                max_len,
                "answers are cut short: the model reads too little for longer ones"
            );
        }
        let room = max_len - max_new_tokens;
        let encoded = selected.par_iter().map(|&index| {
            encode(tokenizer, &task.items[index].context, room).map_err(|message| (Some(index), message))
        });
        let encoded = encoded.collect::<Vec<_>>().into_iter().collect::<Result<Vec<_>, _>>()?;
        let truncated = encoded.iter().filter(|(_, is_cut)| *is_cut).count();
        let prompts = selected.iter().zip(encoded).map(|(&index, (tokens, _))| Prompt {
            tokens,
            continuations: (0..rules.attempts).map(|attempt| rules.sampling_of(index, attempt)).collect(),
        });
        let eos = tokenizer.eos_id().and_then(|id| tokenizer.token(id));
        Ok(Self {
            prompts: prompts.collect(),
            until: rules.until.iter().cloned().chain(eos).filter(|text| !text.is_empty()).collect(),
            rules: rules.clone(),
            tokenizer: tokenizer.clone(),
            max_new_tokens,
            sandbox,
            truncated,
        })
    }

    /// The prompts, as tokens.
    pub(crate) fn prompts(&self) -> impl Iterator<Item = &[u32]> {
        self.prompts.iter().map(|prompt| prompt.tokens.as_slice())
    }

    /// Has `model` write its answers, and judges them; a row for each that a filter left of an item's attempts. `interrupted` is asked before each token,
    /// and between programs. The inner error says why the task could not be done.
    pub(crate) fn run(
        &self,
        model: &Llama,
        task: &Task,
        selected: &[usize],
        clusters: &[Option<u32>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Result<Vec<ItemRow>, String>, Interrupted> {
        let attempts = match self.write(model, interrupted)? {
            Ok(attempts) => attempts,
            Err(message) => return Ok(Err(message)),
        };
        let items = || selected.iter().map(|&index| &task.items[index]);
        let judged = items().zip(&attempts).map(|(item, attempts)| self.filtered(item, attempts));
        let judged: Vec<Vec<Judged>> = match judged.collect::<Result<_, String>>() {
            Ok(judged) => judged,
            Err(message) => return Ok(Err(message)),
        };
        let verdicts = match self.verdicts(items(), &judged, interrupted)? {
            Ok(verdicts) => verdicts,
            Err(message) => return Ok(Err(message)),
        };
        let name: Arc<str> = task.name.as_str().into();
        let mut verdicts = verdicts.into_iter();
        let mut rows = Vec::with_capacity(verdicts.len());
        for ((&index, judged), attempts) in selected.iter().zip(judged).zip(&attempts) {
            for (judged, verdict) in judged.into_iter().zip(verdicts.by_ref()) {
                let attempt = &attempts[judged.number.min(attempts.len() - 1)];
                let row = attempt.row(&name, task.kind, judged, verdict);
                rows.push(ItemRow { item: index as u32, cluster: clusters[index], ..row });
            }
        }
        Ok(Ok(rows))
    }

    /// The attempts at every item.
    fn write(
        &self,
        model: &Llama,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Result<Vec<Vec<Attempt>>, String>, Interrupted> {
        let config = BatchConfig {
            max_new_tokens: self.max_new_tokens,
            stop: Vec::from_iter(self.tokenizer.eos_id()),
            cache_bytes: CACHE_BYTES,
        };
        let is_finished = |_, tokens: &[u32]| {
            // What can't be decoded now is told of at the end.
            let text = self.tokenizer.decode(tokens).unwrap_or_default();
            self.until.iter().any(|end| text.contains(end.as_str()))
        };
        let written = match generate_batch(model, &self.prompts, &config, &is_finished, interrupted) {
            Ok(written) => written,
            Err(error) => return Ok(Err(error.to_string())),
        };
        if written.iter().flatten().any(|text| text.finish == Finish::Interrupted) {
            return Err(Interrupted);
        }
        let attempt = |continuation: Continuation| {
            let text = self.tokenizer.decode(&continuation.tokens).map_err(|error| error.to_string())?;
            Ok(Attempt { text: before_first(&text, &self.until).to_owned(), continuation })
        };
        let of_item = |item: Vec<Continuation>| item.into_iter().map(attempt).collect();
        Ok(written.into_iter().map(of_item).collect())
    }

    /// What each filter leaves of the attempts at an item; the attempts, if there is none.
    fn filtered<'a>(&'a self, item: &Item, attempts: &[Attempt]) -> Result<Vec<Judged<'a>>, String> {
        let texts: Vec<String> = attempts.iter().map(|attempt| attempt.text.clone()).collect();
        let judged = |filter, answers: Vec<String>| {
            let answer = move |(number, answer)| Judged { filter, number, answer };
            answers.into_iter().enumerate().map(answer)
        };
        if self.rules.filters.is_empty() {
            return Ok(judged(None, texts).collect());
        }
        let mut all = Vec::new();
        for pipeline in &self.rules.filters {
            all.extend(judged(Some(pipeline.name.as_str()), pipeline.apply(&texts, &item.choices)?));
        }
        Ok(all)
    }

    /// What every answer is worth, in the order of `judged`.
    fn verdicts<'a>(
        &self,
        items: impl Iterator<Item = &'a Item>,
        judged: &[Vec<Judged>],
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Result<Vec<Verdict>, String>, Interrupted> {
        let of_items = items.zip(judged);
        let answers =
            of_items.flat_map(|(item, judged)| judged.iter().map(move |judged| (item, &judged.answer)));
        let Some(sandbox) = &self.sandbox else {
            return Ok(answers.map(|(item, answer)| self.rules.judge(answer, &item.answers)).collect());
        };
        let programs: Vec<String> = answers.map(|(item, answer)| item.with_program(answer)).collect();
        let mut verdicts = Vec::with_capacity(programs.len());
        for programs in programs.chunks(rayon::current_num_threads()) {
            if interrupted() {
                return Err(Interrupted);
            }
            let outcomes: Vec<_> = programs.par_iter().map(|program| sandbox.run(program)).collect();
            for outcome in outcomes {
                match outcome {
                    Ok(outcome) => {
                        verdicts.push(Verdict { correct: outcome == Outcome::Passed, score: None });
                    }
                    Err(message) => return Ok(Err(message)),
                }
            }
        }
        Ok(Ok(verdicts))
    }
}

const FORBIDDEN: &str = "it runs programs that the model writes, which is not allowed: `allow_code_execution = true` in [[probes]], or \
                         `--allow-code-execution`, allows it, in a sandbox";

impl GenerationRules {
    /// How the tokens of an attempt at an item are chosen: draws depend on seed, item, attempt and step, and on nothing else.
    fn sampling_of(&self, item: usize, attempt: usize) -> Sampling {
        let Sampling::Random { temperature, top_k, top_p, seed } = self.sampling else {
            return Sampling::Greedy;
        };
        let seed = Stream::new(seed, &format!("probe/attempt/{attempt}"), item as u64).next_u64();
        Sampling::Random { temperature, top_k, top_p, seed }
    }
}

impl Item {
    /// The program that an answer makes.
    fn with_program(&self, answer: &str) -> String {
        match &self.program {
            Some(program) => format!("{}{answer}\n{}", program.before, program.tests),
            None => answer.to_owned(),
        }
    }
}

impl Attempt {
    fn row(&self, task: &Arc<str>, kind: Kind, judged: Judged, verdict: Verdict) -> ItemRow {
        ItemRow {
            task: Arc::clone(task),
            kind,
            item: 0,
            cluster: None,
            choice: judged.number as u32,
            gold: 0,
            logprob: self.continuation.logprob,
            byte_logprob: None,
            unconditional_logprob: None,
            n_tokens: self.continuation.tokens.len() as u32,
            n_chars: self.text.chars().count() as u32,
            n_bytes: self.text.len() as u32,
            n_words: None,
            greedy: self.continuation.greedy,
            text: Some(self.text.clone()),
            correct: Some(verdict.correct),
            filter: judged.filter.map(str::to_owned),
            answer: judged.filter.map(|_| judged.answer),
            score: verdict.score,
        }
    }
}

/// The tokens of a prompt, and whether it lost some on its left to have no more than `room`: BOS too, as in lm-evaluation-harness
/// (`HFLM.tok_batch_encode`).
fn encode(tokenizer: &Tokenizer, context: &str, room: usize) -> Result<(Vec<u32>, bool), String> {
    let text = tokenizer.encode(context).map_err(|error| error.to_string())?;
    let mut tokens: Vec<u32> = tokenizer.marks().bos.into_iter().chain(text).collect();
    if tokens.is_empty() {
        tokens.extend(tokenizer.bos_id().or(tokenizer.eos_id()));
    }
    if tokens.is_empty() {
        return Err("its prompt is empty, and the tokenizer has neither BOS nor EOS to put there".to_owned());
    }
    let excess = tokens.len().saturating_sub(room);
    tokens.drain(..excess);
    Ok((tokens, excess > 0))
}

/// What stands before the ends, each looked for in what the one before it left (`postprocess_generated_text`).
fn before_first<'a>(text: &'a str, ends: &[String]) -> &'a str {
    ends.iter().fold(text, |text, end| text.split(end.as_str()).next().unwrap_or(text))
}
