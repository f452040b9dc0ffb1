//! LLaMA, as Hugging Face defines it, on Burn.
//!
//! - [`LlamaConfig`] is the architecture: from TOML, from a Hugging Face `config.json`, or a [preset](LlamaConfig::preset).
//! - [`Llama`] is the model, a Burn module whose parameter paths are the tensor names of Hugging Face. It maps tokens to
//!   hidden states ([`Llama::hidden`]), continues from a [`KvCache`] ([`Llama::extend`]), and is made by
//!   [`LlamaConfig::init`] or [`load`].
//! - [`generate`] samples text, token by token; [`generate_batch`] many texts at once.
//! - [`parameters`](mod@parameters) lists, maps and rebuilds parameters under their names, in one fixed order.
//! - [`weights`] reads every layout of `fineline-weights` and writes safetensors; [`Conversion`] turns one layout into another;
//!   [`inspect`] says what is in a checkpoint without loading it.
//! - [`cost`] says what a model takes: parameters, operations, memory.
//!
//! This crate knows nothing of text, losses' reductions, optimizers or checkpoints' directories.

mod cache;
mod config;
mod conversion;
pub mod cost;
mod generate;
mod generate_batch;
mod hf_config;
mod inspect;
mod llama;
pub mod parameters;
mod presets;
pub mod weights;

pub use cache::KvCache;
pub use config::{ConfigError, LlamaConfig};
pub use conversion::{Architecture, Conversion, ConversionReport, Format};
pub use generate::{Finish, GenerateConfig, GenerateError, Generation, Sampling, generate};
pub use generate_batch::{BatchConfig, BatchControl, Continuation, Place, Prompt, generate_batch};
pub use hf_config::{SpecialTokens, read_config, read_config_file};
pub use inspect::{Inspection, StoredTensor, inspect};
pub use llama::{Llama, Positions};
pub use parameters::{ParameterSpec, named_parameters};
pub use weights::{TensorHeader, WeightsError, load, write_safetensors};
