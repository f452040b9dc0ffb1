//! Probes: what a model can do, measured while it trains.
//!
//! A [`Task`] is a set of questions: multiple choice, cloze, or text to predict. A [`Suite`] is a set of tasks, read from the
//! [`Catalog`] and tokenized once. [`Suite::run`] puts a model through a [`EvaluationRound`] of it, packed into batches in which what choices and items
//! share is computed once, and yields a [`TaskResult`] per task: every metric with its error bars, and one [`ItemRow`] for each
//! choice of each item, from which all metrics can be computed again ([`metrics()`]). [`EvaluationHistory`] sets each result against
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

// Ground: errors, Parquet columns, and text as Python treats it.
mod error;
mod parquet_columns;
mod text;

// Tasks: items, how they are scored, and groups of tasks.
mod tasks;

// Records of data files.
mod records;

// Prompts that are rendered from records.
mod prompts;

// Sources of tasks: task files, lm-evaluation-harness, built-in suites, the catalog.
mod sources;

// Requests: items as tokens, and the batches they are packed into.
mod requests;

// Item rows: the scores of each choice, and the files that keep them.
mod items;

// Scorers: a model's log-likelihoods, answers and hidden states.
mod scorers;

// Metrics that are computed from item rows.
mod metrics;

// Results of tasks and groups, comparisons between rounds, and records in files.
mod results;

// Suites, and their evaluation.
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
