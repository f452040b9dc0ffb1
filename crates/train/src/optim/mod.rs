//! `AdamW` with decoupled weight decay, and gradient clipping by the global norm.
//!
//! All vectors here are flat (`[n]`), in float32, keyed by the Hugging Face name of their parameter.

// The configuration and the gradients.
mod config;
mod gradients;

// The update.
mod adamw;

pub(crate) use adamw::{AdamState, AdamW, ParameterSlice};
pub use config::{OptimConfig, OptimKind, WeightDecayScope};
pub(crate) use gradients::GradientSum;
