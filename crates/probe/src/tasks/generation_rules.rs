//! Rules of generated answers: generation, extraction and judgement.

use std::collections::{BTreeMap, BTreeSet};

use fineline_model::Sampling;
use serde::Deserialize;

use crate::tasks::kind::TaskKind;
use crate::text::pattern::Pattern;

/// Rules of generation and judgement, in terms of lm-evaluation-harness's `generate_until` tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRules {
    /// Texts that end an answer, and are not part of it. EOS always does (`until`).
    pub until: Vec<String>,
    /// Maximum number of tokens of an answer (`max_gen_toks`).
    pub max_new_tokens: usize,
    /// Sampling of tokens. Its seed is that of the task: each item and attempt has its own draws.
    pub sampling: Sampling,
    /// Number of answers to each question (`repeats`).
    pub attempts: usize,
    /// Filters that extract what is judged from the answers, each independent of the others (`filter_list`).
    /// Empty: the answers themselves are judged.
    pub filters: Vec<Pipeline>,
    /// Condition under which an extracted text is correct
    /// ([`TaskKind::Generation`](crate::TaskKind::Generation)).
    pub equality: AnswerEquality,
    /// Whether to measure the token F1 with the accepted answers too (`f1`).
    pub token_f1: bool,
}

impl Default for GenerationRules {
    /// The harness's defaults: one greedy attempt of at most 256 tokens, and an exact match.
    fn default() -> Self {
        Self {
            until: Vec::new(),
            max_new_tokens: 256,
            sampling: Sampling::Greedy,
            attempts: 1,
            filters: Vec::new(),
            equality: AnswerEquality::ExactMatch(ExactMatch::default()),
            token_f1: false,
        }
    }
}

impl GenerationRules {
    /// Returns what is wrong with them for a task of this kind.
    pub(crate) fn problem(&self, kind: TaskKind) -> Option<String> {
        let mut names = BTreeSet::new();
        let twice = self.filters.iter().find(|pipeline| !names.insert(pipeline.name.as_str()));
        if self.max_new_tokens == 0 || self.attempts == 0 {
            return Some("expected at least 1 attempt of at least 1 token".to_owned());
        }
        if let Some(Pipeline { name, .. }) = twice {
            return Some(format!("two filters are named `{name}`"));
        }
        if let Err(error) = self.sampling.check() {
            return Some(error.to_string());
        }
        if kind == TaskKind::Code && self.token_f1 {
            return Some("`f1` is not available for programs, which are run and not compared".to_owned());
        }
        self.filters.iter().find_map(|pipeline| pipeline.problem(self.attempts))
    }
}

/// A sequence of steps from the attempts at an item to what is judged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Its name, unique within a task.
    pub name: String,
    /// The steps.
    #[serde(alias = "filter")]
    pub steps: Vec<FilterStep>,
}

impl Pipeline {
    /// Returns what is wrong with it for a task with this number of attempts per item.
    pub(crate) fn problem(&self, attempts: usize) -> Option<String> {
        let wrong = |step: &FilterStep| match step {
            FilterStep::TakeFirstK { k } if *k == 0 || *k > attempts => Some(format!(
                "filter `{}`: expected k from 1 to {attempts} (the attempts), found {k}",
                self.name
            )),
            _ => None,
        };
        self.steps.iter().find_map(wrong)
    }
}

/// A filter of lm-evaluation-harness 0.4.13 (`lm_eval/filters`), with the names of its arguments.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "function", rename_all = "snake_case", deny_unknown_fields)]
pub enum FilterStep {
    /// Extracts the match of a pattern, or its first non-empty group.
    Regex(Extraction),
    /// Extracts the match of a pattern, or otherwise the text of a choice, or otherwise its letter. As `(A)`.
    MultiChoiceRegex(ChoiceExtraction),
    /// Keeps the first answer.
    TakeFirst,
    /// Keeps the first `k` answers.
    TakeFirstK {
        /// Number of answers, at most the number of attempts.
        k: usize,
    },
    /// Keeps the most frequent answer. Among equally frequent ones, the first.
    MajorityVote,
    /// Strips whitespace at both ends.
    RemoveWhitespace,
    /// Extracts the content of the last `\boxed{}`, if there is one. Not a filter of the harness.
    Boxed,
    /// Converts to lower case.
    Lowercase,
    /// Converts to upper case.
    Uppercase,
    /// Replaces each answer.
    Map {
        /// Replacements of answers.
        mapping_dict: BTreeMap<String, String>,
        /// Replacement of other answers. Absent: `[invalid]`.
        #[serde(default = "invalid")]
        default_value: String,
    },
}

/// Extraction of a match from an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extraction {
    /// The pattern. If it has groups, the first non-empty one is extracted.
    pub regex_pattern: Pattern,
    /// Index of the match, from 0. Negative indices count from the end.
    #[serde(default)]
    pub group_select: i64,
    /// Result if nothing matches.
    #[serde(default = "invalid")]
    pub fallback: String,
}

/// Extraction of a choice from an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceExtraction {
    /// The pattern, tried first.
    pub regex_pattern: Pattern,
    /// Index of the match, from 0. Negative indices count from the end.
    #[serde(default)]
    pub group_select: i64,
    /// Result if nothing matches.
    #[serde(default = "invalid")]
    pub fallback: String,
    /// Whether to ignore case when searching the texts of choices.
    #[serde(default)]
    pub ignore_case: bool,
    /// Whether to ignore punctuation when searching them.
    #[serde(default)]
    pub ignore_punctuation: bool,
    /// Patterns to remove before searching them.
    #[serde(default)]
    pub regexes_to_ignore: Vec<Pattern>,
}

fn invalid() -> String {
    "[invalid]".to_owned()
}

/// Condition under which an answer equals an accepted one, and is therefore correct.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerEquality {
    /// The same text, except for ignored parts.
    ExactMatch(ExactMatch),
    /// The same words in the same order, ignoring case, punctuation and articles: `SQuAD`'s normalization
    /// (Rajpurkar et al., 2016).
    Words,
    /// The same formula by the rules of MATH (Hendrycks et al., 2021). Compares the text between the first
    /// and the last dollar sign of the answer with the content of the last `\boxed{}` of the accepted one.
    Math,
}

/// Parts that lm-evaluation-harness's `exact_match` ignores on both sides.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExactMatch {
    /// Case.
    pub ignore_case: bool,
    /// ASCII punctuation.
    pub ignore_punctuation: bool,
    /// ASCII digits.
    pub ignore_numbers: bool,
    /// Matches of these patterns, removed first.
    pub regexes_to_ignore: Vec<Pattern>,
}

/// Turns an answer into a program ([`TaskKind::Code`](crate::TaskKind::Code)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestProgram {
    /// Text before the answer. In `HumanEval`, the prompt, whose function the answer completes.
    pub before: String,
    /// Text after the answer, on a new line, which fails if the answer is wrong.
    pub tests: String,
}
