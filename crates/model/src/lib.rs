//! LLaMA models as defined by Hugging Face, on Burn.
//!
//! - [`LlamaConfig`] is the architecture, read from TOML, a Hugging Face `config.json`, or a
//!   [preset](LlamaConfig::preset).
//! - [`Llama`] is the model, a Burn module whose parameter paths are Hugging Face's tensor names.
//!   [`LlamaConfig::init`] or [`load`] creates it. It maps tokens to hidden states ([`Llama::hidden`]),
//!   optionally after the tokens in a [`KvCache`] ([`Llama::extend`]).
//! - [`generate`] samples text token by token, and [`generate_batch`] many texts in parallel.
//! - [`named_parameters`] and [`map_parameters`] list and replace parameters under their names, in a fixed
//!   order.
//! - [`load`] reads every layout of `fineline-weights`, and [`write_safetensors`] writes one. [`Conversion`]
//!   converts between layouts. [`inspect()`] lists the contents of a checkpoint without loading it.
//! - [`LlamaConfig::flops_per_token`] and related methods compute parameters, operations and memory.
//!
//! Shapes in the names of tensors follow the legend of `fineline-kernels`.
//!
//! This crate knows nothing of text, reductions of losses, optimizers, or directories of checkpoints.

// The architecture and the model.
mod llama;

// Weights on disk.
mod conversion;
mod inspect;
mod weights;

// Text generation.
mod generate;
mod generate_batch;

pub use conversion::{ArchitectureSource, Conversion, ConversionFormat, ConversionReport, SourceReport};
pub use generate::{FinishReason, GenerateConfig, GenerateError, Generation, Sampling, generate};
pub use generate_batch::{BatchConfig, BatchControl, BatchPosition, Continuation, Prompt, generate_batch};
pub use inspect::{InspectedTensor, Inspection, inspect};
pub use llama::{
    KvCache, Llama, LlamaConfig, ModelConfigError, ParameterMap, ParameterSpec, Positions, SpecialTokens,
    map_parameters, named_parameters, read_config, read_config_file,
};
pub use weights::{ModelWeightsError, TensorHeader, load, load_as, write_safetensors};
