//! The built-in suite `representation`: documents of the generated world whose hidden states are compared.

use fineline_tinyworld::{World, WorldConfig};

use crate::tasks::item::Item;
use crate::tasks::kind::TaskKind;
use crate::tasks::task::Task;

/// Number of texts of the built-in task.
const TEXTS: u64 = 128;

/// The task of the built-in suite: documents of the generated world after those that a run trains on.
pub(crate) fn world_task(config: &WorldConfig) -> Task {
    let world = World::new(config);
    let text = |index| world.document(config.documents + index);
    let item = |index| Item { choices: vec![text(index)], ..Item::default() };
    Task {
        name: "representation".into(),
        domain: "representation".into(),
        kind: TaskKind::Representation,
        shots: 0,
        chance: None,
        signal: None,
        source: Some("tinyworld".into()),
        licence: None,
        version: None,
        unconditional: None,
        target_delimiter: " ".to_owned(),
        generation: None,
        template: String::new(),
        items: (0..TEXTS).map(item).collect(),
    }
}
