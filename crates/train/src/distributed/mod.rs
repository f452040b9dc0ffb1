//! One step on many ranks.
//!
//! - [`DistributedConfig`] is the section `[distributed]`.
//! - [`Division`] says who does what: which micro-batches of a step are a rank's, which part of every vector it owns.
//! - [`TreeSum`] adds in an order that doesn't depend on who holds what.
//! - [`reduce()`] makes of each rank's gradients those of the whole batch, [`reduce_scatter`] a part of them on each rank.
//!
//! A gradient goes the way of two collective operations: each rank receives its own part of every vector from all others, adds up,
//! and the parts are put together. That takes as many bytes as any all-reduce must, and whoever owns a part adds in an order
//! that is fixed. With ZeRO-1 (Rajbhandari et al., 2020) the update stands between the two: then it's the new parameters that are put together, and
//! each rank has moments for its part alone.
//!
//! Where a process has several ranks, each with a device of its own, these first add up among their devices. The first of them then speaks for
//! all in the exchange; if there is one process only, nothing is left to be exchanged.

// Who does what.
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
