//! What a run is to do: [`RunConfig`], read from TOML and resolved.
//!
//! A configuration is a tree of values laid over one another: the defaults, a model preset, the files named by `extends`, the file
//! itself, `--set` arguments. Each value keeps its [`ValueOrigin`], so that `config show` can tell it and errors can point at the line.
//! Each crate owns the struct of its section; the doc comments on the fields are the reference.

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

// Reading it.
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
