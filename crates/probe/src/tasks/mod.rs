//! The model of a task: its items, how they are scored, and how generated answers are judged.

// Items and their scoring.
pub(crate) mod generation_rules;
pub(crate) mod item;
pub(crate) mod kind;
pub(crate) mod provenance;

// Sets of items.
pub(crate) mod task;

// Sets of tasks.
pub(crate) mod group;
