//! Where what a run sees goes: logs, TensorBoard, Prometheus, a copy elsewhere.

// One each.
pub(crate) mod digests;
pub(crate) mod prometheus;
mod tensorboard;
pub(crate) mod upload;

// The log files, and what is kept of them in memory.
pub(crate) mod logs;
