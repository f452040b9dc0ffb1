//! A world: its facts, its text, and its tasks.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::curriculum;
use crate::draw::{Draw, DrawSide};
use crate::facts::WorldFacts;
use crate::holdout::Holdout;
use crate::task::WorldTask;

/// The `[tinyworld]` section: the world, and the amount of text about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Seed of the world: of its people, their homes and occupations, and of all text and questions about
    /// them.
    pub seed: u64,
    /// Number of documents of training text. A document has about 75 words.
    pub documents: u64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self { seed: 1, documents: 20_000 }
    }
}

/// An invented world: its facts, text about it, and questions about it that the text doesn't contain.
///
/// Everything is a pure function of the seed.
#[derive(Clone, Debug)]
pub struct World {
    facts: WorldFacts,
    tasks: Vec<WorldTask>,
    holdout: Holdout,
}

impl World {
    /// Creates the world of a configuration.
    #[must_use]
    pub fn new(config: &WorldConfig) -> Self {
        let facts = WorldFacts::new(config.seed);
        let tasks = curriculum::write_tasks(&facts);
        let holdout = Holdout::new(tasks.iter().flat_map(|task| &task.items));
        Self { facts, tasks, holdout }
    }

    /// Returns the training document at `index`. It depends neither on the order of calls nor on the number
    /// of documents.
    #[must_use]
    pub fn document(&self, index: u64) -> String {
        let mut draw = Draw::new(self.facts.seed, DrawSide::Training, "document", index);
        loop {
            let document = curriculum::write_document(&self.facts, &mut draw);
            if self.holdout.find(&document).is_none() {
                return document;
            }
        }
    }

    /// Returns the probe tasks, which depend on the seed only.
    #[must_use]
    pub fn tasks(&self) -> Vec<WorldTask> {
        self.tasks.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check of documents must only be a safety net. Sentence patterns that it rejected often would be
    /// missing from the text.
    #[test]
    fn few_documents_are_drawn_again() {
        let world = World::new(&WorldConfig::default());
        let refused: Vec<String> = (0..2000)
            .filter_map(|index| {
                let mut draw = Draw::new(world.facts.seed, DrawSide::Training, "document", index);
                world.holdout.find(&curriculum::write_document(&world.facts, &mut draw))
            })
            .collect();
        assert!(refused.len() < 60, "{} of 2000 documents were refused: {refused:#?}", refused.len());
    }
}
