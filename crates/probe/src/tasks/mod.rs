//! The model of a task: its items, how they are scored, and how written answers are judged.

pub(crate) mod generation_rules;
pub(crate) mod task;
