//! How the items of a task are scored.

use serde::{Deserialize, Serialize};

/// How the items of a task are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The most likely choice after the context is the answer.
    MultipleChoice,
    /// There is one choice. It is correct if each of its tokens is the most likely one (`is_greedy` of
    /// lm-evaluation-harness's `loglikelihood` tasks).
    GreedyMatch,
    /// There is one choice: a text to predict from its beginning. The context is empty.
    Perplexity,
    /// The answer is the choice with the lowest mean cross-entropy of the whole prompt, from its first token
    /// on. `OpenCompass` calls this PPL.
    FullPromptMeanCe,
    /// The answer is the choice with the lowest mean cross-entropy of its tokens, from where the prompts
    /// diverge. If a continuation follows the choices, of the common suffix of the prompts. As nanochat
    /// scores DCLM's CORE tasks (`batch_sequences_mc`, `batch_sequences_schema` of `nanochat/core_eval.py`).
    SuffixMeanCe,
    /// The model generates an answer. It is correct if it equals an accepted one.
    Generation,
    /// The model generates a program. It is correct if it passes its tests.
    Code,
    /// Questions and answers alternate, and each answer is scored given everything before it: `choices[k]`
    /// answers `questions[k]` after `k` examples.
    InContext,
    /// There is one text, whose hidden states are compared.
    Representation,
}

impl TaskKind {
    pub(crate) const ALL: [Self; 9] = [
        Self::MultipleChoice,
        Self::GreedyMatch,
        Self::Perplexity,
        Self::FullPromptMeanCe,
        Self::SuffixMeanCe,
        Self::Generation,
        Self::Code,
        Self::InContext,
        Self::Representation,
    ];

    /// The name in files: `multiple_choice`, `greedy_match`, `perplexity`, `full_prompt_mean_ce`,
    /// `suffix_mean_ce`, `generation`, `code`, `in_context`, `representation`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::FullPromptMeanCe => "full_prompt_mean_ce",
            Self::SuffixMeanCe => "suffix_mean_ce",
            Self::MultipleChoice => "multiple_choice",
            Self::GreedyMatch => "greedy_match",
            Self::Perplexity => "perplexity",
            Self::Generation => "generation",
            Self::Code => "code",
            Self::InContext => "in_context",
            Self::Representation => "representation",
        }
    }

    /// Whether the model generates the answers.
    #[must_use]
    pub fn is_written(self) -> bool {
        matches!(self, Self::Generation | Self::Code)
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether an item has several choices.
    pub(crate) fn has_choices(self) -> bool {
        matches!(self, Self::MultipleChoice | Self::FullPromptMeanCe | Self::SuffixMeanCe)
    }

    /// Name of the metric that represents a task of this kind.
    pub(crate) fn primary_metric(self) -> &'static str {
        match self {
            Self::MultipleChoice | Self::GreedyMatch | Self::FullPromptMeanCe | Self::SuffixMeanCe => "acc",
            Self::Perplexity => "bits_per_byte",
            Self::Generation => "exact_match",
            Self::Code => "pass@1",
            Self::InContext => "icl_gain",
            Self::Representation => "cka_previous_mean",
        }
    }

    /// Whether the primary metrics of several tasks can be averaged: not perplexities, of which lower is
    /// better, and not similarities of representations.
    pub(crate) fn has_group_mean(self) -> bool {
        !matches!(self, Self::Perplexity | Self::Representation)
    }

    /// The scorer and its version. Scores of different versions can't be compared.
    pub(crate) fn scorer(self) -> &'static str {
        match self {
            Self::MultipleChoice | Self::GreedyMatch | Self::Perplexity => "loglikelihood/1",
            Self::FullPromptMeanCe => "full_prompt_mean_ce/1",
            Self::SuffixMeanCe => "suffix_mean_ce/1",
            Self::Generation => "generation/1",
            Self::Code => "code/1",
            Self::InContext => "in_context/1",
            Self::Representation => "debiased_cka/1",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        for kind in TaskKind::ALL {
            assert_eq!(TaskKind::from_name(kind.name()), Some(kind));
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.name());
        }
        assert_eq!(TaskKind::from_name("essay"), None);
    }
}
