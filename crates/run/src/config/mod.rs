//! The configuration of a run: [`RunConfig`], read from TOML files and resolved.
//!
//! A configuration is a tree of values, merged from layers: defaults, a model preset, the files named by
//! `extends`, the file itself, and `--set` arguments. Each value has a [`ValueOrigin`], which `config show`
//! prints and errors refer to. Each crate defines the structs of its sections and their checks. The doc
//! comments of their fields are the reference.

// Values, and errors that name them.
mod error;
mod layers;
mod values;

// Sections.
mod device_name;
mod init;
mod sections;
mod triggers;

// The whole configuration.
mod recipe;
mod run_config;

// Reading and checking it.
mod checks;
mod read;
mod resolved;
mod resume;
mod schema;

// Showing it.
mod reference;
mod show;

pub use device_name::{BUILT_IN, DeviceName, UnknownDevice};
pub use error::ConfigError;
pub use init::{InitConfig, OptimizerStateFrom};
pub use layers::ValueOrigin;
pub(crate) use recipe::recipe;
pub use reference::reference_markdown;
pub use resolved::Resolved;
pub use run_config::{ConfigDifference, RunConfig};
pub use schema::file_schema;
pub use sections::{ListenAddress, LogConfig, RunSection, StorageConfig, ValidationConfig};
pub use triggers::{TriggerAction, TriggerBaseline, TriggerConfig};
