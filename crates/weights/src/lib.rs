//! Files with the weights of a LLaMA model, in the layouts in which they are published.
//!
//! - [`WeightFiles::open`] lists the tensors of a file or directory of any [`WeightLayout`]: safetensors,
//!   PyTorch's `.bin`, EasyLM's stream. Only headers are read. Tensors have the names and shapes of Hugging
//!   Face, independent of the names and the order of values in the file.
//! - [`StoredTensor::open`] streams the values of one tensor. Values that are stored in the requested order
//!   are never held in memory as a whole. Values that have to be reordered are held once.
//! - [`write_weights`] writes any of these tensors as safetensors or as EasyLM's stream, and
//!   [`compare_weights`] compares the files with their sources, bit for bit.
//! - [`safetensors`] reads and writes headers of safetensors files, for values that are stored elsewhere.
//!
//! This crate doesn't depend on a model or a tensor library. The caller decides which tensors are expected.
//!
//! # Pickles
//!
//! A `.bin` file is an archive of numbers and a *pickle*, a program that reconstructs the tensors. This crate
//! never executes it. An interpreter understands the few calls that describe tensors, and rejects all others
//! by name. The crate `pytorch-reader` was not used, because it accepts unknown calls as opaque values, takes
//! the last of two equal names, and reads tensors as a whole. The archive is read by the crate `zip`, and
//! msgpack by `rmp`.

// Ground: errors, types of values and their order.
mod arrange;
mod dtype;
mod error;
mod precision;

// Tensors in files.
mod output;
mod tensor;

// File formats.
mod easylm;
mod index;
mod pytorch;
pub mod safetensors;

// All formats behind one type.
mod weight_files;

// Conversion from one to another.
mod convert;

pub use ::safetensors::Dtype;
pub use convert::{
    ByteProgress, ConversionParity, ConversionSummary, ConversionTarget, check_space, compare_weights,
    write_weights,
};
pub use easylm::STREAM_FILE;
pub use error::WeightsError;
pub use precision::RoundingStats;
pub use tensor::{IgnoredEntry, StoredTensor, TensorReader};
pub use weight_files::{WeightFiles, WeightLayout};
