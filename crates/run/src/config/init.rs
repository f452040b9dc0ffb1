//! The `[init]` section.

use std::path::PathBuf;

use fineline_train::TokenCount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[init]` section: weights that the run starts from. Where in training they stand is said by at most one of `step`, `tokens` and `chunk`, or else by
/// their name: `ckpt_100`, `step-00000200`, `open_llama_7b_step_2500`, `open_llama_7b_700bt`, `OpenLLaMA-Reproduce-100.66B`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// A folder or a file of weights in any layout, a checkpoint of another run, or `hf://org/name@revision` that `fineline weights fetch` has fetched.
    pub from: String,
    /// The folder of fetched models, as `--out` of `weights fetch` named it.
    #[serde(default = "default_models_dir")]
    pub models_dir: PathBuf,
    /// Steps of this run's batches that the weights have been trained for.
    pub step: Option<u64>,
    /// Tokens that they have been trained on; the nearest step counts.
    pub tokens: Option<TokenCount>,
    /// The chunk of `[data.chunks]` after which they were saved.
    pub chunk: Option<u64>,
    /// Whether a checkpoint's moments of the optimizer are taken over, where there are any. Released weights have none.
    #[serde(default)]
    pub optimizer_state: OptimizerStateFrom,
    /// Steps over which the learning rate rises again, from 0 to what the schedule says, while the moments fill.
    #[serde(default)]
    pub rewarm_steps: u64,
}

fn default_models_dir() -> PathBuf {
    PathBuf::from("models")
}

/// Where the moments of the optimizer come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerStateFrom {
    /// From the checkpoint, which then is continued as its own run would; where it has none, they begin at zero.
    #[default]
    Keep,
    /// They begin at zero in any case.
    Reset,
}

impl InitConfig {
    /// What is wrong with it, and at which key.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let given = [
            ("init.step", self.step.is_some()),
            ("init.tokens", self.tokens.is_some()),
            ("init.chunk", self.chunk.is_some()),
        ];
        let given: Vec<&str> =
            given.into_iter().filter(|(_, is_given)| *is_given).map(|(key, _)| key).collect();
        if given.len() > 1 {
            return Some((
                "init",
                format!("says where the weights stand in several ways: {}", given.join(", ")),
            ));
        }
        self.from
            .is_empty()
            .then(|| ("init.from", "must be a folder, a file or hf://org/name@revision".to_owned()))
    }
}
