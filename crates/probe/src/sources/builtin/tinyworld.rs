//! The built-in suite `tinyworld`: questions about the generated world.

use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;
use crate::tasks::task::{TARGET_DELIMITER, Task};

impl From<&fineline_tinyworld::WorldTask> for Task {
    fn from(task: &fineline_tinyworld::WorldTask) -> Self {
        Self {
            name: task.name.to_owned(),
            domain: task.domain.to_owned(),
            kind: match task.kind {
                fineline_tinyworld::WorldTaskKind::MultipleChoice => TaskKind::MultipleChoice,
                fineline_tinyworld::WorldTaskKind::GreedyMatch => TaskKind::GreedyMatch,
                fineline_tinyworld::WorldTaskKind::Perplexity => TaskKind::Perplexity,
            },
            shots: task.shots,
            chance: task.chance,
            signal: None,
            source: Some("tinyworld".to_owned()),
            licence: None,
            version: None,
            unconditional: None,
            target_delimiter: TARGET_DELIMITER.to_owned(),
            generation: None,
            template: String::new(),
            items: task
                .items
                .iter()
                .map(|item| Item {
                    context: item.context.clone(),
                    choices: item.choices.clone(),
                    gold: item.gold,
                    cluster: item.cluster.clone(),
                    ..Item::default()
                })
                .collect(),
        }
    }
}
