//! Probes: what a model can do, measured while it trains.
//!
//! A [`Task`] is a set of questions: multiple choice, cloze, or text to predict. A [`Suite`] is a set of tasks, read from the
//! [`Catalog`] and tokenized once. [`Suite::run`] puts a model through a [`Round`] of it, packed into batches in which what choices and items
//! share is computed once, and yields a [`TaskResult`] per task: every metric with its error bars, and one [`ItemRow`] for each
//! choice of each item, from which all metrics can be computed again ([`metrics()`]). [`History`] sets each result against
//! those before it and makes the lines of `probes.jsonl` ([`ProbeRecord`]); [`results_json`] writes lm-evaluation-harness's layout.
//!
//! Scoring follows lm-evaluation-harness to the token (`request`), so that a number here is the number there. The same suite on the
//! same weights gives the same bits, in the loop or out of it, in one process or several: packing depends on the items alone.
//!
//! The way through the crate: `data`, `preprocess` (records) → `task`, `catalog`, `task_file`, `harness`, `template`, `examples` (text) → `request`, `prepared` (tokens) → `prefix`, `pack` (batches) → `score`
//! (log-probabilities) → `items` (rows) → `metrics` (numbers) → `group`, `comparison`, `history`, `results` (files). [`ProbeConfig`] says when.
//!
//! Two kinds of task are of another make. `in_context` draws random functions, whose examples and answers are one chain of tokens (`request/chain`).
//! `representation` asks nothing: it looks at hidden states (`similarity`), and [`RepresentationHistory`] sets them against earlier rounds'.
//!
//! Deliberately unknown here: training. A probe sees a `&Llama`, has no random stream, and changes nothing.

mod error;
mod text;

mod tasks;

mod records;

mod prompts;

mod sources;

mod requests;

mod items;

mod scorers;

mod metrics;

mod results;

mod config;
mod suite;

pub use config::ProbeConfig;
pub use error::ProbeError;
pub use items::item_store::{ItemRow, read_items, write_items};
pub use metrics::similarity::Gram;
pub use metrics::{higher_is_better, metrics};
pub use results::group_result::{Group, GroupMean, GroupResult};
pub use results::history::{Delta, History, ProbeRecord, headline};
pub use results::lm_eval_json::{ResultsHeader, results_json};
pub use results::representation_history::RepresentationHistory;
pub use results::representation_store::{
    SimilarityRow, read_representations, write_representations, write_similarities,
};
pub use scorers::generation::answer_writer::{CodeExecution, sandbox_problem};
pub use scorers::loglikelihood::{Interrupted, Share};
pub use scorers::representation::Representation;
pub use sources::catalog::Catalog;
pub use sources::hub::{HubSource, TaskSource};
pub use suite::round::{Round, RoundResults, RoundScores, TaskFailure, TaskResult};
pub use suite::{Asked, Provenance, Suite, SuiteOptions};
pub use tasks::generation_rules::{
    ChoiceExtraction, Equality, ExactMatch, Extraction, GenerationRules, Pipeline, Program, Step,
};
pub use tasks::task::{Item, Kind, Question, Rises, Task};
pub use text::pattern::Pattern;
