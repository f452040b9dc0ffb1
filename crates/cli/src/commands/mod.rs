//! The commands, one module each.

pub(crate) mod bench;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod doctor;
pub(crate) mod dynamics;
pub(crate) mod fetch;
pub(crate) mod fetch_weights;
pub(crate) mod generate;
pub(crate) mod plan;
pub(crate) mod probe;
pub(crate) mod shell;
pub(crate) mod sweep;
pub(crate) mod tokenizer;
pub(crate) mod train;
pub(crate) mod verify;
pub(crate) mod watch;
pub(crate) mod weights;
