//! A task: its items, and how they are scored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::ProbeError;
use crate::tasks::generation_rules::GenerationRules;
use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;

/// Default separator between a context and its continuation, as in lm-evaluation-harness.
pub(crate) const TARGET_DELIMITER: &str = " ";

/// The part of training in which a task first rises above chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignalOnset {
    /// Within the first tenth of a run, or in small models.
    Early,
    /// After most of a run, or in large models.
    Late,
}

/// A named set of items.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Its name, unique within a suite.
    pub name: String,
    /// The capability that it measures.
    pub domain: String,
    /// How its items are scored.
    pub kind: TaskKind,
    /// Number of few-shot examples.
    pub shots: usize,
    /// Accuracy of guessing. `None` if there is nothing to guess among.
    pub chance: Option<f64>,
    /// The part of training in which it first rises above chance.
    pub signal: Option<SignalOnset>,
    /// Origin of the items.
    pub source: Option<String>,
    /// License of the items.
    pub licence: Option<String>,
    /// Version of the wording and the data, if its author assigns one.
    pub version: Option<String>,
    /// A context after which each choice is scored too, to measure what its own context adds (pointwise
    /// mutual information). May be empty.
    pub unconditional: Option<String>,
    /// Separator between a context and its continuation: one space, except in some of lm-evaluation-harness's
    /// tasks.
    pub target_delimiter: String,
    /// Rules of generated answers. Present if [`TaskKind::is_written`].
    pub generation: Option<GenerationRules>,
    /// The rules by which the texts of the items are made. `provenance` contains their hash.
    pub template: String,
    /// The items.
    pub items: Vec<Item>,
}

impl Task {
    /// Checks that the task can be scored. Refuses, for example, a task without items, an item with too few
    /// choices, an empty choice, or a gold index out of range.
    pub(crate) fn check(&self) -> Result<(), ProbeError> {
        let wrong =
            |message: &str| Err(ProbeError::Task { task: self.name.clone(), message: message.into() });
        if self.items.is_empty() {
            return wrong("no items");
        }
        if self.unconditional.is_some() && self.kind != TaskKind::MultipleChoice {
            return wrong("`unconditional` is only for multiple_choice tasks");
        }
        if self.kind.is_written() != self.generation.is_some() {
            return wrong(
                "rules of generation are required for kinds `generation` and `code`, and only for them",
            );
        }
        if let Some(problem) = self.generation.as_ref().and_then(|rules| rules.problem(self.kind)) {
            return wrong(&problem);
        }
        for (index, item) in self.items.iter().enumerate() {
            if let Some(message) = item.problem(self.kind) {
                return Err(ProbeError::Item { task: self.name.clone(), item: index, message });
            }
        }
        Ok(())
    }

    /// The cluster of each item as a number. Clusters are numbered from 0 in the order of their first
    /// occurrence.
    pub(crate) fn cluster_numbers(&self) -> Vec<Option<u32>> {
        let mut numbers = BTreeMap::new();
        let mut number = |cluster| {
            let next = numbers.len() as u32;
            *numbers.entry(cluster).or_insert(next)
        };
        self.items.iter().map(|item| item.cluster.as_ref().map(&mut number)).collect()
    }

    /// BLAKE3 hash of kind and items, in order.
    pub(crate) fn data_hash(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut part = |text: &str| {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        };
        // The hash of earlier versions, in which this kind had another name.
        part(if self.kind == TaskKind::GreedyMatch { "cloze" } else { self.kind.name() });
        for item in &self.items {
            part(&item.context);
            part(&format!("{} {}", item.choices.len(), item.gold));
            item.choices.iter().for_each(|choice| part(choice));
            if !item.answers.is_empty() {
                part(&format!("{} answers", item.answers.len()));
                item.answers.iter().for_each(|answer| part(answer));
            }
            if let Some(program) = &item.program {
                part("program");
                part(&program.before);
                part(&program.tests);
            }
            if !item.other_gold.is_empty() {
                part(&format!("also right {:?}", item.other_gold));
            }
            item.cluster.iter().for_each(|cluster| part(cluster));
            item.questions.iter().for_each(|question| part(&question.text));
            for (name, text) in [("continuation", &item.continuation), ("original", &item.original)] {
                if let Some(text) = text {
                    part(name);
                    part(text);
                }
            }
        }
        if self.target_delimiter != TARGET_DELIMITER {
            part("delimiter");
            part(&self.target_delimiter);
        }
        if let Some(context) = &self.unconditional {
            part("unconditional");
            part(context);
        }
        hasher.finalize().to_hex().to_string()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A task of `(context, choices, gold)`, with chance level 0.5.
    pub(crate) fn task(kind: TaskKind, items: &[(&str, &[&str], usize)]) -> Task {
        let item = |&(context, choices, gold): &(&str, &[&str], usize)| Item {
            context: context.to_owned(),
            choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
            gold,
            ..Item::default()
        };
        Task {
            name: "test".into(),
            domain: "testing".into(),
            kind,
            shots: 0,
            chance: kind.has_choices().then_some(0.5),
            signal: None,
            source: None,
            licence: None,
            version: None,
            unconditional: None,
            target_delimiter: TARGET_DELIMITER.to_owned(),
            generation: None,
            template: String::new(),
            items: items.iter().map(item).collect(),
        }
    }

    #[track_caller]
    fn assert_refused(kind: TaskKind, item: (&str, &[&str], usize), expected: &str) {
        let message = task(kind, &[("a", &["b", "c"][..if kind.has_choices() { 2 } else { 1 }], 0), item])
            .check()
            .unwrap_err()
            .to_string();
        assert!(message.contains(expected), "{message}");
    }

    #[test]
    fn what_cannot_be_scored_is_refused_with_the_items_index() {
        assert_refused(TaskKind::MultipleChoice, ("a", &["b"], 0), "item 1: expected at least 2 choices");
        assert_refused(TaskKind::MultipleChoice, ("a", &["b", "c"], 2), "item 1: gold is choice 2");
        assert_refused(TaskKind::MultipleChoice, ("a", &["b", ""], 0), "item 1: choice 1 is empty");
        assert_refused(TaskKind::GreedyMatch, ("a", &[], 0), "item 1: expected 1 choice, found 0");
        assert_refused(TaskKind::FullPromptMeanCe, ("a", &["b"], 0), "item 1: expected at least 2 choices");
        let mut partial = task(TaskKind::MultipleChoice, &[("", &["a", "b"], 0)]);
        partial.items[0].continuation = Some(String::new());
        assert!(partial.check().unwrap_err().to_string().contains("its continuation is empty"));
        partial.kind = TaskKind::FullPromptMeanCe;
        assert!(partial.check().unwrap_err().to_string().contains("expected no continuation"));
        partial.unconditional = Some(String::new());
        assert!(partial.check().unwrap_err().to_string().contains("only for multiple_choice"));
        let empty = task(TaskKind::GreedyMatch, &[]).check().unwrap_err().to_string();
        assert_eq!(empty, "task `test`: no items");
    }

    #[test]
    fn the_hash_sees_every_part_of_an_item() {
        let hash = |items: &[(&str, &[&str], usize)]| task(TaskKind::MultipleChoice, items).data_hash();
        let original = hash(&[("a", &["b", "c"], 0)]);
        assert_eq!(original, hash(&[("a", &["b", "c"], 0)]));
        for changed in [
            hash(&[("a", &["b", "c"], 1)]),
            hash(&[("ab", &["", "c"], 0)]),
            hash(&[("a", &["c", "b"], 0)]),
            hash(&[("a", &["b", "c"], 0), ("a", &["b", "c"], 0)]),
        ] {
            assert_ne!(original, changed);
        }
        let mut clustered = task(TaskKind::MultipleChoice, &[("a", &["b", "c"], 0)]);
        clustered.items[0].cluster = Some("d".into());
        assert_ne!(original, clustered.data_hash());
        let mut partial = task(TaskKind::MultipleChoice, &[("a", &["b", "c"], 0)]);
        partial.items[0].continuation = Some("d".into());
        assert!(![original.clone(), clustered.data_hash()].contains(&partial.data_hash()));
        let mut informed = task(TaskKind::MultipleChoice, &[("a", &["b", "c"], 0)]);
        informed.unconditional = Some(String::new());
        assert_ne!(original, informed.data_hash());
    }

    #[test]
    fn clusters_are_numbered_as_they_occur() {
        let mut task = task(TaskKind::GreedyMatch, &[("a", &["b"][..], 0); 5]);
        for (item, cluster) in task.items.iter_mut().zip([Some("z"), None, Some("a"), Some("z"), None]) {
            item.cluster = cluster.map(str::to_owned);
        }
        assert_eq!(task.cluster_numbers(), [Some(0), None, Some(1), Some(0), None]);
    }

    #[test]
    fn a_continuation_takes_the_choices_place() {
        let whole = task(TaskKind::MultipleChoice, &[("a", &["b", "c"], 0)]).items.remove(0);
        assert_eq!(whole.pair(1), ("a".into(), "c"));
        let partial = Item { continuation: Some("是 d".into()), ..whole };
        assert_eq!(partial.pair(1), ("ac".into(), "是 d"));
        assert_eq!(partial.measured(0), "是 d");
        let rewritten =
            Item { choices: vec!["a-b".into()], original: Some("a @-@ b".into()), ..Item::default() };
        assert_eq!(rewritten.measured(0), "a @-@ b");
    }
}
