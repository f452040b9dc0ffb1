//! The model of a task: its items, how they are scored, and how written answers are judged.

// What an item is, and how it is scored.
pub(crate) mod generation_rules;
pub(crate) mod item;
pub(crate) mod kind;
pub(crate) mod provenance;

// Sets of items.
pub(crate) mod task;

// Sets of tasks.
pub(crate) mod group;
