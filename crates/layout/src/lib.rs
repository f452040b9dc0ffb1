//! Names and formats of a run's directory and of its checkpoints.
//!
//! Several crates read and write the directory of a run: `train` writes checkpoints, `run` the logs,
//! `storage` uploads both. The names of files, directories and checkpoints are defined here and nowhere else,
//! as docs/reference/run-directory.md documents them. [`RunDirectory`] holds the paths of a run,
//! [`step_name`] the name of a checkpoint, [`CheckpointManifest`] the list of its files with their hashes.
//!
//! This crate doesn't depend on what the files hold, apart from the manifest.

// Names.
mod checkpoint_files;
mod run_directory;
mod step_name;

// Versions of the formats.
mod schema;

// The list of a checkpoint's files.
mod manifest;

pub use checkpoint_files::{
    ABANDONED_MANIFEST_FILE, ABANDONED_PREFIX, LATEST_FILE, MANIFEST_FILE, MODEL_CONFIG_FILE, OPTIMIZER_FILE,
    REMOVING_PREFIX, RUN_CONFIG_FILE, STATE_FILE, WEIGHTS_FILE,
};
pub use manifest::{CheckpointManifest, ManifestEntry, ManifestError, find_damage, is_plain_file_name};
pub use run_directory::{
    CHECKPOINTS_DIR, RUN_FILE, RunDirectory, UPLOADED_DIRS, UPLOADED_FILES, remote_checkpoint_path,
};
pub use schema::{CHECKPOINT_SCHEMA, RUN_SCHEMA, UnsupportedSchema, check_schema};
pub use step_name::{chunk_name, kept_name, parse_step_name, step_name};
