//! Names of the files of a checkpoint, and of what lies beside checkpoints.

/// The manifest. It is written last and lists every other file, so a checkpoint that agrees with it is
/// complete.
pub const MANIFEST_FILE: &str = "manifest.json";
/// Name that a manifest in remote storage gets when its checkpoint is abandoned by a rewind.
pub const ABANDONED_MANIFEST_FILE: &str = "abandoned-manifest.json";
/// The model's parameters.
pub const WEIGHTS_FILE: &str = "model.safetensors";
/// The optimizer's state. With ZeRO-1, each rank's shard has its own file, whose name is derived from this
/// one.
pub const OPTIMIZER_FILE: &str = "optimizer.safetensors";
/// All of the run's state that isn't a tensor.
pub const STATE_FILE: &str = "state.json";
/// The model's configuration, as Hugging Face transformers names it.
pub const MODEL_CONFIG_FILE: &str = "config.json";
/// Copy of the run's configuration.
pub const RUN_CONFIG_FILE: &str = "fineline.toml";

/// File in the checkpoint directory that holds the name of the newest checkpoint.
pub const LATEST_FILE: &str = "latest";
/// Prefix of a checkpoint that is being removed.
pub const REMOVING_PREFIX: &str = ".removing-";
/// Prefix of a checkpoint of steps that a rewind has undone.
pub const ABANDONED_PREFIX: &str = "abandoned-";
