//! Sinks of a run: logs, TensorBoard, Prometheus, remote storage.

// One module per sink.
pub(crate) mod digests;
pub(crate) mod prometheus;
mod tensorboard;
pub(crate) mod upload;

// The log files, with their buffers, and TensorBoard.
pub(crate) mod logs;
