//! LLaMA, as Hugging Face defines it, on Burn.
//!
//! - [`LlamaConfig`] is the architecture: from TOML, from a Hugging Face `config.json`, or a [preset](LlamaConfig::preset).
//! - [`Llama`] is the model, a Burn module whose parameter paths are the tensor names of Hugging Face. It maps tokens to
//!   hidden states ([`Llama::hidden`]), continues from a [`KvCache`] ([`Llama::extend`]), and is made by
//!   [`LlamaConfig::init`] or [`load`].
//! - [`generate`] samples text, token by token; [`generate_batch`] many texts at once.
//! - [`named_parameters`] and [`map_parameters`] list and replace parameters under their names, in one fixed order.
//! - [`load`] reads every layout of `fineline-weights`, and [`write_safetensors`] writes one; [`Conversion`] turns one layout into
//!   another; [`inspect()`] says what is in a checkpoint without loading it.
//! - [`LlamaConfig::flops_per_token`] and its like say what a model takes: parameters, operations, memory.
//!
//! This crate knows nothing of text, losses' reductions, optimizers or checkpoints' directories.

// The architecture and the model.
mod llama;

// Weights on disk.
mod conversion;
mod inspect;
mod weights;

// Text from a model.
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
