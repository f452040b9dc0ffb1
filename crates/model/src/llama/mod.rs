//! The LLaMA family: architecture, model and parameters.

// The architecture.
mod config;
mod cost;
mod hf_config;
mod parameter_spec;
mod presets;

// The model.
mod cache;
mod model;

// Its parameters.
mod parameters;

pub use cache::KvCache;
pub use config::{LlamaConfig, ModelConfigError};
pub(crate) use hf_config::{CONFIG_FILE, completed_config};
pub use hf_config::{SpecialTokens, read_config, read_config_file};
pub use model::{Llama, Positions};
pub use parameter_spec::ParameterSpec;
pub use parameters::{ParameterMap, map_parameters, named_parameters};
