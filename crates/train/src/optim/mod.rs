//! `AdamW` with decoupled weight decay, and clipping by the global norm.
//!
//! All vectors here are flat (`[n]`), in float32, and keyed by the Hugging Face name of their parameter.

// The configuration and the gradients.
mod config;
mod gradients;

// The update.
mod adamw;

pub(crate) use adamw::{AdamState, AdamW, Part};
pub use config::{OptimConfig, OptimKind, WeightDecayScope};
pub(crate) use gradients::GradientSum;
