//! How the model writes its answers in a task, what is taken from them, and when one is right.

use std::collections::{BTreeMap, BTreeSet};

use fineline_model::Sampling;
use serde::Deserialize;

use crate::tasks::kind::TaskKind;
use crate::text::pattern::Pattern;

/// How answers are written and judged, in the terms of lm-evaluation-harness's `generate_until` tasks.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerationRules {
    /// Texts that end an answer, and are not part of it; EOS always does (`until`).
    pub until: Vec<String>,
    /// Tokens that an answer may have (`max_gen_toks`).
    pub max_new_tokens: usize,
    /// How each token is chosen. The seed of random choices is that of the task: each item and attempt has draws of its own.
    pub sampling: Sampling,
    /// Answers to each question (`repeats`).
    pub attempts: usize,
    /// What is taken from the answers, each way by itself (`filter_list`). None: the answers as they are.
    pub filters: Vec<Pipeline>,
    /// When what was taken is right ([`TaskKind::Generation`](crate::TaskKind::Generation)).
    pub equality: AnswerEquality,
    /// Whether the overlap in words with the accepted answers is measured too (`f1`).
    pub token_f1: bool,
}

impl Default for GenerationRules {
    /// The harness's: one greedy attempt of at most 256 tokens, equal to the letter.
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
    /// What is wrong with them in a task of this kind.
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
            return Some("programs are run, not compared: no f1".to_owned());
        }
        self.filters.iter().find_map(|pipeline| pipeline.problem(self.attempts))
    }
}

/// Steps, one after another, from the attempts at an item to what is judged.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// Its name, unique in a task.
    pub name: String,
    /// The steps.
    #[serde(alias = "filter")]
    pub steps: Vec<FilterStep>,
}

impl Pipeline {
    /// What is wrong with it in a task of this many attempts at an item.
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

/// A filter of lm-evaluation-harness 0.4.13 (`lm_eval/filters`), with its arguments' names.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(tag = "function", rename_all = "snake_case", deny_unknown_fields)]
pub enum FilterStep {
    /// The match of a pattern, or its first group that isn't empty.
    Regex(Extraction),
    /// The same, then the text of a choice, then its letter: as `(A)`.
    MultiChoiceRegex(ChoiceExtraction),
    /// The first answer alone.
    TakeFirst,
    /// The first `k` answers.
    TakeFirstK {
        /// How many; at most the attempts.
        k: usize,
    },
    /// The most frequent answer; of equally frequent ones, the first.
    MajorityVote,
    /// Without whitespace at both ends.
    RemoveWhitespace,
    /// What the last `\boxed{}` holds, if there is one. (Not one of the harness's.)
    Boxed,
    /// In small letters.
    Lowercase,
    /// In capital letters.
    Uppercase,
    /// Another text for each.
    Map {
        /// From answer to answer.
        mapping_dict: BTreeMap<String, String>,
        /// For an answer that isn't there; absent, `[invalid]`.
        #[serde(default = "invalid")]
        default_value: String,
    },
}

/// What to find in an answer.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extraction {
    /// The pattern. Where it has groups, the first one that isn't empty is what is found.
    pub regex_pattern: Pattern,
    /// Which of the matches, from 0; from the end, if negative.
    #[serde(default)]
    pub group_select: i64,
    /// What there is if nothing is found.
    #[serde(default = "invalid")]
    pub fallback: String,
}

/// What to find in an answer to a question with choices.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChoiceExtraction {
    /// The pattern, tried first.
    pub regex_pattern: Pattern,
    /// Which of the matches, from 0; from the end, if negative.
    #[serde(default)]
    pub group_select: i64,
    /// What there is if nothing is found.
    #[serde(default = "invalid")]
    pub fallback: String,
    /// Whether the texts of choices are looked for without regard to case.
    #[serde(default)]
    pub ignore_case: bool,
    /// Whether punctuation is left out of them.
    #[serde(default)]
    pub ignore_punctuation: bool,
    /// What else is left out of them.
    #[serde(default)]
    pub regexes_to_ignore: Vec<Pattern>,
}

fn invalid() -> String {
    "[invalid]".to_owned()
}

/// When an answer is right: if it equals one of the accepted ones, in this sense.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerEquality {
    /// The same text, some of it disregarded.
    ExactMatch(ExactMatch),
    /// The same words in the same order, without case, punctuation and articles: `SQuAD`'s normalization (Rajpurkar et al., 2016).
    Words,
    /// The same formula after the rules of MATH (Hendrycks et al., 2021), of what stands between
    /// the first and the last dollar sign of the answer, and what the last `\boxed{}` of an accepted one holds.
    Math,
}

/// What lm-evaluation-harness's `exact_match` disregards, on both sides.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ExactMatch {
    /// Small or capital letters.
    pub ignore_case: bool,
    /// ASCII punctuation.
    pub ignore_punctuation: bool,
    /// ASCII digits.
    pub ignore_numbers: bool,
    /// What these match, removed first.
    pub regexes_to_ignore: Vec<Pattern>,
}

/// What makes a program of an answer, to be run ([`TaskKind::Code`](crate::TaskKind::Code)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TestProgram {
    /// What stands before the answer: in `HumanEval` the prompt, whose function the answer completes.
    pub before: String,
    /// What stands after it, on a line of its own, and fails if the answer is wrong.
    pub tests: String,
}
