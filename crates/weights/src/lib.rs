//! Files that hold the weights of a LLaMA, in the layouts that people publish them in.
//!
//! - [`WeightFiles::open`] lists what a file or folder holds, whatever its [`WeightLayout`]: safetensors, PyTorch's `.bin`, EasyLM's
//!   stream. Only headers are read. Tensors have the names and shapes of Hugging Face, however the file calls and turns them.
//! - [`StoredTensor::open`] streams the values of one tensor. What lies in the file as it is wanted is never held whole; what has
//!   to be turned around first is held once.
//! - [`write_weights`] writes any of these tensors as safetensors or as EasyLM's stream, and [`compare_weights`] reads them back and holds them to
//!   their source, bit for bit.
//! - [`safetensors`] has the header of a safetensors file, for whoever has the values elsewhere.
//!
//! Nothing here knows a model or a tensor library: which tensors there should be is for whoever asks.
//!
//! # Pickles
//!
//! A `.bin` is an archive of plain numbers and a *pickle*, a program that rebuilds the tensors. Here it is only ever read, by a
//! machine that knows the few calls which describe tensors and refuses everything else by name. The crate `pytorch-reader` was
//! considered: it lets unknown calls pass as opaque values, takes the last of two equal names, and reads tensors whole. The archive
//! itself is read by the crate `zip`, msgpack by `rmp`.

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
