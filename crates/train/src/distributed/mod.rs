//! Gradient reduction over several ranks.
//!
//! - [`DistributedConfig`] is the section `[distributed]`.
//! - [`Division`] assigns the work of a step: the micro-batches of each rank, and the slices of parameters
//!   that it owns.
//! - [`TreeSum`] adds in an order that doesn't depend on the number of ranks.
//! - [`reduce()`] sums the gradients of all ranks on every rank, [`reduce_scatter`] on the rank that owns
//!   them.
//!
//! A reduction takes two collectives. In an all-to-all, each rank receives its own slice of every vector from
//! all others, and adds them in a fixed order. Then the slices are gathered. Together they send as many bytes
//! as any all-reduce must. With ZeRO-1 (Rajbhandari et al., 2020) the update happens between the two: the
//! updated parameters are gathered instead of the gradients, and each rank has the optimizer state of its own
//! slices only.
//!
//! If a process has several ranks with a device each, they first sum the gradients among their devices, and
//! the first of them takes part in the collectives for all. With a single process, nothing else is exchanged.

// The section, and the division of work.
mod config;
mod division;
mod tree;

// Sums over ranks.
mod devices;
mod reduce;

pub use config::{DistributedConfig, DistributedMode};
pub(crate) use devices::sum_within_process;
pub use division::Division;
pub(crate) use reduce::{ParameterGather, count_targets, reduce, reduce_scatter, sum_losses};
pub(crate) use tree::{TreeNode, TreeSum};

#[cfg(test)]
mod tests;
