//! Tasks and their items.

use serde::Serialize;

/// Scoring of the items of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorldTaskKind {
    /// The answer is the choice with the highest log-likelihood after the context.
    MultipleChoice,
    /// The only choice is right if each of its tokens is the most likely one.
    GreedyMatch,
    /// The only choice is a text, whose prediction is measured in bits per byte.
    Perplexity,
}

/// A named set of questions about the world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorldTask {
    /// Name, unique among the tasks.
    pub name: &'static str,
    /// Capability, grouped as in the paper.
    pub domain: &'static str,
    /// Scoring of the items.
    pub kind: WorldTaskKind,
    /// Number of solved examples before each question. Items contain their own context, so this is 0.
    pub shots: usize,
    /// Accuracy of guessing. `None` if there is only one choice.
    pub chance: Option<f64>,
    /// Description in one sentence.
    pub description: &'static str,
    /// Questions, in an order such that every prefix is a fair sample.
    pub items: Vec<WorldItem>,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WorldItem {
    /// Text before the answer, without a space at its end.
    pub context: String,
    /// Possible continuations. Scorers put one space before each.
    pub choices: Vec<String>,
    /// Index of the right choice, from 0.
    pub gold: usize,
    /// Fact of the question, if other items may be about the same fact: a model that learned it answers all
    /// of them. `None` if the item contains its own facts.
    pub cluster: Option<String>,
}

impl WorldItem {
    /// Creates an item whose right answer has index `index` among the wrong ones.
    pub(crate) fn choice(
        context: String,
        right: impl Into<String>,
        wrong: Vec<String>,
        index: usize,
    ) -> Self {
        let mut choices = wrong;
        choices.insert(index, right.into());
        Self { context, choices, gold: index, cluster: None }
    }

    /// Creates an item with a single choice: a greedy match, or a text to predict.
    pub(crate) fn only(context: String, answer: impl Into<String>) -> Self {
        Self { context, choices: vec![answer.into()], gold: 0, cluster: None }
    }

    /// Returns the item as one of those about `fact`.
    pub(crate) fn about(self, fact: impl Into<String>) -> Self {
        Self { cluster: Some(fact.into()), ..self }
    }

    /// Returns context and right answer as one text.
    #[must_use]
    pub fn answered(&self) -> String {
        format!("{} {}", self.context, self.choices[self.gold])
    }
}
