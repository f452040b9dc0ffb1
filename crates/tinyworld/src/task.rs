use serde::Serialize;

/// How a task's items are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WorldTaskKind {
    /// The choice of the highest log-likelihood after the context is the answer.
    MultipleChoice,
    /// The only choice counts as found if each of its tokens is the likeliest one.
    GreedyMatch,
    /// The only choice is a text; how well it is predicted is measured in bits per byte.
    Perplexity,
}

/// A named set of questions about the world.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorldTask {
    /// Its name, unique among the tasks.
    pub name: &'static str,
    /// The capability that it belongs to, as the paper groups them.
    pub domain: &'static str,
    /// How it is scored.
    pub kind: WorldTaskKind,
    /// How many solved examples stand before each question. Items bring their own context, so this is 0.
    pub shots: usize,
    /// The accuracy of guessing; `None` where there is nothing to guess among.
    pub chance: Option<f64>,
    /// What it asks, in one sentence.
    pub description: &'static str,
    /// The questions, in an order such that any first part of them is a fair sample.
    pub items: Vec<WorldItem>,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct WorldItem {
    /// What the model reads first; no space at its end.
    pub context: String,
    /// What could follow; a scorer puts one space before each.
    pub choices: Vec<String>,
    /// Which of the choices is right, from 0.
    pub gold: usize,
    /// The fact that is asked about, where other items may ask about the same: whoever knows it is right about all of them. `None` where
    /// the item brings its own facts.
    pub cluster: Option<String>,
}

impl WorldItem {
    /// An item whose right answer stands at `place` among the wrong ones.
    pub(crate) fn choice(
        context: String,
        right: impl Into<String>,
        wrong: Vec<String>,
        place: usize,
    ) -> Self {
        let mut choices = wrong;
        choices.insert(place, right.into());
        Self { context, choices, gold: place, cluster: None }
    }

    /// An item with nothing to choose: a cloze, or a text to predict.
    pub(crate) fn only(context: String, answer: impl Into<String>) -> Self {
        Self { context, choices: vec![answer.into()], gold: 0, cluster: None }
    }

    /// The item, as one of those about `fact`.
    pub(crate) fn about(self, fact: impl Into<String>) -> Self {
        Self { cluster: Some(fact.into()), ..self }
    }

    /// Context and right answer as one text.
    #[must_use]
    pub fn answered(&self) -> String {
        format!("{} {}", self.context, self.choices[self.gold])
    }
}
