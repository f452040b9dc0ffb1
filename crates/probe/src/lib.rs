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

mod answer_metrics;
mod answers;
mod catalog;
mod comparison;
mod config;
mod data;
mod draws;
mod error;
mod examples;
mod filters;
mod generation;
mod generation_table;
mod group;
mod harness;
mod history;
mod hub;
mod in_context;
mod items;
mod math;
mod metrics;
mod pack;
mod parquet_records;
mod pattern;
mod prefix;
mod prepared;
mod preprocess;
mod python;
mod representation;
mod request;
mod results;
mod round;
mod rules;
mod sandbox;
mod score;
mod similarity;
mod suite;
mod task;
mod task_file;
mod template;

pub use catalog::Catalog;
pub use config::ProbeConfig;
pub use error::ProbeError;
pub use generation::{CodeExecution, sandbox_problem};
pub use group::{Group, GroupMean, GroupResult};
pub use history::{Delta, History, ProbeRecord, headline};
pub use hub::{HubSource, TaskSource};
pub use items::{ItemRow, read_items, write_items};
pub use metrics::{higher_is_better, metrics};
pub use pattern::Pattern;
pub use representation::{
    Representation, RepresentationHistory, SimilarityRow, read_representations, write_representations,
    write_similarities,
};
pub use results::{ResultsHeader, results_json};
pub use round::{Round, RoundResults, RoundScores, TaskFailure, TaskResult};
pub use rules::{
    ChoiceExtraction, Equality, ExactMatch, Extraction, GenerationRules, Pipeline, Program, Step,
};
pub use score::{Interrupted, Share};
pub use similarity::Gram;
pub use suite::{Asked, Provenance, Suite, SuiteOptions};
pub use task::{Item, Kind, Question, Rises, Task};
