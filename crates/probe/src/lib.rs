//! Probes: evaluations of a model during training.
//!
//! A [`Task`] is a set of items: multiple choice, a greedy match, a text to predict, an answer to generate,
//! and others ([`TaskKind`]). A [`Suite`] is a set of tasks, read from the [`Catalog`] and tokenized once.
//! [`Suite::run`] evaluates a model on it in an [`EvaluationRound`]. Requests are packed into batches in
//! which tokens shared by choices and items are computed once. The result is one [`TaskResult`] per task:
//! each metric with its error bars, and one [`ItemRow`] per choice of each item, from which all metrics can
//! be computed again ([`metrics()`]). [`EvaluationHistory`] compares each result with earlier rounds and
//! makes the lines of `probes.jsonl` ([`ProbeRecord`]). [`results_json`] writes lm-evaluation-harness's
//! layout.
//!
//! Scoring follows lm-evaluation-harness to the token (`requests`), so that scores are comparable. The same
//! suite on the same weights gives the same bits, in the training loop or offline, in one process or several:
//! packing depends on the items alone.
//!
//! An item passes through the modules in this order: `records` → `prompts` → `sources` (a [`Task`]) →
//! `requests` (tokens and batches) → `scorers` (log-probabilities, answers, hidden states) → `items` (rows) →
//! `metrics` → `results` (files). `suite` is on top. [`ProbeConfig`] is the configuration.
//!
//! Two kinds of tasks differ from the others. In-context tasks (`sources::builtin::in_context`) draw random
//! functions. Their examples and answers form one chain of tokens (`requests::in_context`). Representation
//! tasks have no question: their hidden states are compared (`metrics::similarity`), by
//! [`RepresentationHistory`] also with earlier rounds.
//!
//! This crate doesn't depend on training. An evaluation reads a `&Llama`, consumes no random stream, and
//! changes nothing.

// Ground: errors, Parquet columns, and text in the semantics of Python.
mod error;
mod parquet_columns;
mod text;

// Tasks: items, how they are scored, and groups of tasks.
mod tasks;

// Records of data files.
mod records;

// Prompts rendered from records.
mod prompts;

// Sources of tasks: task files, lm-evaluation-harness, built-in suites, the catalog.
mod sources;

// Requests: items as tokens, and the batches they are packed into.
mod requests;

// Item rows: the scores of each choice, and the files that store them.
mod items;

// Scorers: a model's log-likelihoods, answers and hidden states.
mod scorers;

// Metrics computed from item rows.
mod metrics;

// Results of tasks and groups, comparisons between rounds, and records in files.
mod results;

// Suites and their evaluation.
mod config;
mod suite;

pub use config::ProbeConfig;
pub use error::{Interrupted, ProbeError};
pub use items::item_row::ItemRow;
pub use items::item_store::{read_items, write_items};
pub use metrics::{higher_is_better, metrics};
pub use requests::request::RequestTokens;
pub use results::group_result::GroupResult;
pub use results::history::EvaluationHistory;
pub use results::lm_eval_json::{ResultsHeader, results_json};
pub use results::probe_record::{Delta, ProbeRecord, primary_metric};
pub use results::representation_history::RepresentationHistory;
pub use results::representation_store::{
    SimilarityRow, read_representations, write_representations, write_similarities,
};
pub use results::task_result::TaskResult;
pub use scorers::generation::sandbox::{CodeExecution, sandbox_problem};
pub use scorers::rank_share::RankShare;
pub use scorers::representation::gram::GramMatrix;
pub use scorers::representation::hidden_states::Representation;
pub use sources::catalog::Catalog;
pub use sources::hub_source::HubSource;
pub use sources::task_source::TaskSource;
pub use suite::Suite;
pub use suite::options::SuiteOptions;
pub use suite::round::{EvaluationRound, RoundResults, RoundScores, TaskFailure};
pub use tasks::generation_rules::{
    AnswerEquality, ChoiceExtraction, ExactMatch, Extraction, FilterStep, GenerationRules, Pipeline,
    TestProgram,
};
pub use tasks::group::{GroupMean, TaskGroup};
pub use tasks::item::{InContextQuestion, Item};
pub use tasks::kind::TaskKind;
pub use tasks::provenance::Provenance;
pub use tasks::task::{SignalOnset, Task};
pub use text::pattern::Pattern;
