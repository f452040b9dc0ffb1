//! The `[init]` section.

use std::path::PathBuf;

use fineline_diagnostics::{Checker, ConfigSection, Problem};
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

impl ConfigSection for InitConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(
            !self.from.is_empty(),
            "from",
            &self.from,
            "must be a directory, a file or hf://org/name@revision",
        );
        let positions = [
            ("step", self.step.is_some()),
            ("tokens", self.tokens.is_some()),
            ("chunk", self.chunk.is_some()),
        ];
        let mut given = positions.into_iter().filter(|(_, is_given)| *is_given).map(|(field, _)| field);
        if let Some(first) = given.next() {
            for field in given {
                let message =
                    format!("must be absent if init.{first} is given: both set the position of the weights");
                checker.push(Problem::new(checker.key(field), message));
            }
        }
    }
}
