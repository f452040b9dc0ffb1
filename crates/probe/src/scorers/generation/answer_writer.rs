//! Generation of answers: prompts, attempts, filters and scores.

use std::sync::Arc;
use std::time::Instant;

use fineline_data::Tokenizer;
use fineline_model::{
    BatchConfig, BatchControl, Continuation, FinishReason, Llama, Prompt, Sampling, generate_batch,
};
use fineline_random::Stream;
use rand::Rng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::items::item_row::ItemRow;
use crate::scorers::generation::answer_matching::AnswerVerdict;
use crate::scorers::generation::sandbox::{CodeExecution, ProgramOutcome, Sandbox};
use crate::scorers::rank_share::RankShare;
use crate::tasks::generation_rules::GenerationRules;
use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;
use crate::tasks::task::Task;

/// Maximum size of the KV caches of a batch, in bytes.
const CACHE_BYTES: u64 = 512 << 20;

/// Generates and judges the answers to the items of a task.
#[derive(Clone, Debug)]
pub(crate) struct AnswerWriter {
    rules: GenerationRules,
    tokenizer: Tokenizer,
    /// Context length of the model, in tokens.
    max_len: usize,
    /// Maximum number of tokens of an answer, at most half the context length.
    max_new_tokens: usize,
    /// The texts that end an answer, including EOS.
    until: Vec<String>,
    /// Sandbox for programs, in tasks of kind `code`.
    sandbox: Option<Arc<Sandbox>>,
}

/// Reason why there are no answers.
#[derive(Debug)]
pub(crate) enum GenerationStopped {
    /// The round was interrupted.
    Interrupted,
    /// The task can't be evaluated, for this reason.
    Failed(String),
}

impl From<String> for GenerationStopped {
    fn from(message: String) -> Self {
        Self::Failed(message)
    }
}

/// The share of a rank in a round.
#[derive(Clone, Copy)]
pub(crate) struct RankTurn<'a> {
    pub(crate) share: RankShare,
    pub(crate) interrupted: &'a dyn Fn() -> bool,
}

/// The judged answers to one item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WrittenItem {
    /// Index of the item in the complete data of the task.
    pub(crate) item: usize,
    /// One answer for each text that a filter extracted from the attempts.
    pub(crate) answers: Vec<WrittenAnswer>,
    /// Its share of the seconds of the task.
    pub(crate) seconds: f64,
}

/// A text that a filter extracted from an attempt, with its score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct WrittenAnswer {
    filter: Option<String>,
    /// Index among the texts that the filter extracted.
    number: usize,
    /// The extracted text. `None` if there is no filter: then the text of the attempt counts.
    left: Option<String>,
    correct: bool,
    score: Option<f64>,
    text: String,
    n_tokens: usize,
    logprob: f64,
    greedy: bool,
}

/// An attempt at an item.
#[derive(Debug)]
struct WrittenAttempt {
    text: String,
    continuation: Continuation,
}

impl AnswerWriter {
    /// Fails if the task needs to run programs, and that is forbidden or impossible.
    pub(crate) fn new(
        task: &Task,
        rules: &GenerationRules,
        tokenizer: &Tokenizer,
        max_len: usize,
        code: CodeExecution<'_>,
    ) -> Result<Self, ProbeError> {
        let refused = |message| ProbeError::Task { task: task.name.clone(), message };
        let sandbox = match (task.kind, code) {
            (TaskKind::Code, CodeExecution::Forbidden) => return Err(refused(FORBIDDEN.to_owned())),
            (TaskKind::Code, CodeExecution::Allowed(python)) => {
                Some(Arc::new(Sandbox::new(python).map_err(refused)?))
            }
            _ => None,
        };
        // The harness refuses a model whose context is shorter than the answer. Half and half is more useful.
        let max_new_tokens = rules.max_new_tokens.min(max_len / 2);
        if max_new_tokens < rules.max_new_tokens {
            tracing::warn!(
                task = task.name,
                max_new_tokens,
                max_len,
                "answers may be truncated: the context length is too short for the task's max_new_tokens"
            );
        }
        let eos = tokenizer.eos_id().and_then(|id| tokenizer.token(id));
        Ok(Self {
            until: rules.until.iter().cloned().chain(eos).filter(|text| !text.is_empty()).collect(),
            rules: rules.clone(),
            tokenizer: tokenizer.clone(),
            max_len,
            max_new_tokens,
            sandbox,
        })
    }

    /// The prompt of an item, and whether it was truncated on the left to leave room for an answer. The
    /// truncation removes BOS too, as in lm-evaluation-harness (`HFLM.tok_batch_encode`).
    pub(crate) fn prompt(&self, index: usize, item: &Item) -> Result<(Prompt, bool), String> {
        let tokenizer = &self.tokenizer;
        let text = tokenizer.encode(&item.context).map_err(|error| error.to_string())?;
        let mut tokens: Vec<u32> = tokenizer.boundary_tokens().bos.into_iter().chain(text).collect();
        if tokens.is_empty() {
            tokens.extend(tokenizer.bos_id().or(tokenizer.eos_id()));
        }
        if tokens.is_empty() {
            return Err("the prompt is empty, and the tokenizer has neither BOS nor EOS".to_owned());
        }
        let excess = tokens.len().saturating_sub(self.max_len - self.max_new_tokens);
        tokens.drain(..excess);
        let continuations = (0..self.rules.attempts).map(|attempt| self.rules.sampling_of(index, attempt));
        Ok((Prompt { tokens, continuations: continuations.collect() }, excess > 0))
    }

    /// Generates and judges the answers to items of `task`, given as indices with their prompts. Calls
    /// `interrupted` before each token, and between programs.
    pub(crate) fn write(
        &self,
        model: &Llama,
        task: &Task,
        prompts: &[(usize, &Prompt)],
        turn: &RankTurn<'_>,
    ) -> Result<Vec<WrittenItem>, GenerationStopped> {
        let start = Instant::now();
        let attempts = self.attempts(model, prompts, turn)?;
        let filtered =
            |(item, attempts): &(usize, Vec<WrittenAttempt>)| self.filtered(&task.items[*item], attempts);
        let answers: Vec<Vec<WrittenAnswer>> =
            attempts.iter().map(filtered).collect::<Result<_, String>>()?;
        let mut written: Vec<WrittenItem> = attempts
            .iter()
            .zip(answers)
            .map(|(&(item, _), answers)| WrittenItem { item, answers, seconds: 0.0 })
            .collect();
        match &self.sandbox {
            Some(sandbox) => run_programs(sandbox, task, &mut written, turn.interrupted)?,
            None => self.compare(task, &mut written)?,
        }
        let seconds = start.elapsed().as_secs_f64() / written.len().max(1) as f64;
        for item in &mut written {
            item.seconds = seconds;
        }
        Ok(written)
    }

    /// The attempts at the items of this rank's share.
    fn attempts(
        &self,
        model: &Llama,
        prompts: &[(usize, &Prompt)],
        turn: &RankTurn<'_>,
    ) -> Result<Vec<(usize, Vec<WrittenAttempt>)>, GenerationStopped> {
        let config = BatchConfig {
            max_new_tokens: self.max_new_tokens,
            stop: Vec::from_iter(self.tokenizer.eos_id()),
            cache_bytes: CACHE_BYTES,
        };
        // A stop text completed by the last token spans at most as many tokens as it has bytes. A few more
        // are decoded, because the first one may lose its space or be a part of a character.
        let looked_at = 4 + self.until.iter().map(String::len).max().unwrap_or(0);
        let control = BatchControl {
            is_finished: &|_, tokens| {
                // Tokens that can't be decoded yet are checked at the end.
                let last = &tokens[tokens.len().saturating_sub(looked_at)..];
                let text = self.tokenizer.decode(last).unwrap_or_default();
                self.until.iter().any(|end| text.contains(end.as_str()))
            },
            interrupted: turn.interrupted,
            selects_batch: &|batch| turn.share.takes(batch),
        };
        let batch: Vec<Prompt> = prompts.iter().map(|(_, prompt)| Prompt::clone(prompt)).collect();
        let written = generate_batch(model, &batch, &config, control).map_err(|error| error.to_string())?;
        if written.iter().flatten().flatten().any(|text| text.finish == FinishReason::Interrupted) {
            return Err(GenerationStopped::Interrupted);
        }
        let attempt = |continuation: Continuation| {
            let text = self.tokenizer.decode(&continuation.tokens).map_err(|error| error.to_string())?;
            Ok::<_, String>(WrittenAttempt {
                text: before_first(&text, &self.until).to_owned(),
                continuation,
            })
        };
        let taken = prompts.iter().zip(written).filter_map(|(&(item, _), written)| Some((item, written?)));
        let of_item = |(item, written): (usize, Vec<Continuation>)| {
            Ok((item, written.into_iter().map(attempt).collect::<Result<_, _>>()?))
        };
        Ok(taken.map(of_item).collect::<Result<_, String>>()?)
    }

    /// The texts that each filter extracts from the attempts at an item, or the attempts if there is no
    /// filter.
    fn filtered(&self, item: &Item, attempts: &[WrittenAttempt]) -> Result<Vec<WrittenAnswer>, String> {
        if self.rules.filters.is_empty() {
            return Ok((0..attempts.len())
                .map(|number| WrittenAnswer::new(attempts, number, None))
                .collect());
        }
        let texts: Vec<String> = attempts.iter().map(|attempt| attempt.text.clone()).collect();
        let mut answers = Vec::new();
        for pipeline in &self.rules.filters {
            let left = pipeline.apply(&texts, &item.choices)?.into_iter().enumerate();
            answers.extend(
                left.map(|(number, left)| WrittenAnswer::new(attempts, number, Some((&pipeline.name, left)))),
            );
        }
        Ok(answers)
    }

    /// Compares each answer with the accepted ones.
    fn compare(&self, task: &Task, written: &mut [WrittenItem]) -> Result<(), String> {
        for WrittenItem { item, answers, .. } in written {
            for answer in answers {
                let AnswerVerdict { correct, score } =
                    self.rules.judge(answer.judged(), &task.items[*item].answers)?;
                (answer.correct, answer.score) = (correct, score);
            }
        }
        Ok(())
    }
}

/// Runs the programs formed by the answers, as many at a time as there are cores.
fn run_programs(
    sandbox: &Sandbox,
    task: &Task,
    written: &mut [WrittenItem],
    interrupted: &dyn Fn() -> bool,
) -> Result<(), GenerationStopped> {
    let mut answers: Vec<(String, &mut WrittenAnswer)> = Vec::new();
    for WrittenItem { item, answers: of_item, .. } in written {
        let item = &task.items[*item];
        answers.extend(of_item.iter_mut().map(|answer| (item.with_program(answer.judged()), answer)));
    }
    for answers in answers.chunks_mut(rayon::current_num_threads()) {
        if interrupted() {
            return Err(GenerationStopped::Interrupted);
        }
        let run = |(program, answer): &mut (String, &mut WrittenAnswer)| {
            answer.correct = sandbox.run(program)? == ProgramOutcome::Passed;
            Ok(())
        };
        // Among several failures, report the first.
        let ran: Vec<Result<(), String>> = answers.par_iter_mut().map(run).collect();
        ran.into_iter().collect::<Result<(), String>>()?;
    }
    Ok(())
}

impl WrittenAnswer {
    /// An answer before it is judged. `filter` is the filter's name and the extracted text.
    fn new(attempts: &[WrittenAttempt], number: usize, filter: Option<(&String, String)>) -> Self {
        let WrittenAttempt { text, continuation } = &attempts[number];
        let (filter, left) = filter.map(|(name, answer)| (name.clone(), answer)).unzip();
        Self {
            filter,
            number,
            left,
            correct: false,
            score: None,
            text: text.clone(),
            n_tokens: continuation.tokens.len(),
            logprob: continuation.logprob,
            greedy: continuation.greedy,
        }
    }

    /// The text that is judged.
    fn judged(&self) -> &str {
        self.left.as_ref().unwrap_or(&self.text)
    }

    pub(crate) fn row(&self, task: &Arc<str>, kind: TaskKind, item: u32, cluster: Option<u32>) -> ItemRow {
        ItemRow {
            cluster,
            choice: self.number as u32,
            logprob: self.logprob,
            n_tokens: self.n_tokens as u32,
            n_chars: self.text.chars().count() as u32,
            n_bytes: self.text.len() as u32,
            greedy: self.greedy,
            text: Some(self.text.clone()),
            correct: Some(self.correct),
            filter: self.filter.clone(),
            answer: self.left.clone(),
            score: self.score,
            ..ItemRow::new(task, kind, item)
        }
    }
}

const FORBIDDEN: &str = "it runs programs that the model writes, which is not allowed: set \
    `allow_code_execution = true` in [[probes]], or pass `--allow-code-execution`, to run them in a \
    sandbox";

impl GenerationRules {
    /// Sampling of an attempt at an item. The draws depend only on seed, item, attempt and step.
    fn sampling_of(&self, item: usize, attempt: usize) -> Sampling {
        let Sampling::Random { temperature, top_k, top_p, seed } = self.sampling else {
            return Sampling::Greedy;
        };
        let seed = Stream::new(seed, &format!("probe/attempt/{attempt}"), item as u64).next_u64();
        Sampling::Random { temperature, top_k, top_p, seed }
    }
}

impl Item {
    /// The program formed by an answer.
    pub(crate) fn with_program(&self, answer: &str) -> String {
        match &self.program {
            Some(program) => format!("{}{answer}\n{}", program.before, program.tests),
            None => answer.to_owned(),
        }
    }
}

/// The text before the first stop text. Each is searched in the text before the previous one
/// (`postprocess_generated_text`).
fn before_first<'a>(text: &'a str, ends: &[String]) -> &'a str {
    ends.iter().fold(text, |text, end| text.split(end.as_str()).next().unwrap_or(text))
}
