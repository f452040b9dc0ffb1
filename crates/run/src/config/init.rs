//! The `[init]` section.

use std::path::PathBuf;

use fineline_diagnostics::{Checker, ConfigSection, Problem};
use fineline_train::TokenCount;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The `[init]` section: weights to start from. Their position in training is set by at most one of `step`,
/// `tokens` and `chunk`, or else derived from their name: `ckpt_100`, `step-00000200`,
/// `open_llama_7b_step_2500`, `open_llama_7b_700bt`, `OpenLLaMA-Reproduce-100.66B`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InitConfig {
    /// Directory or file of weights in any supported layout, a checkpoint of another run, or
    /// `hf://org/name@revision`, downloaded by `fineline weights fetch`.
    pub from: String,
    /// Directory of downloaded models: `--out` of `fineline weights fetch`.
    #[serde(default = "default_models_dir")]
    pub models_dir: PathBuf,
    /// Position of the weights in optimizer steps, with the batch size of this run.
    pub step: Option<u64>,
    /// Position of the weights in tokens, rounded to the nearest step.
    pub tokens: Option<TokenCount>,
    /// Position of the weights: the chunk of `[data.chunks]` after which they were saved.
    pub chunk: Option<u64>,
    /// Optimizer state of a checkpoint: `"keep"` or `"reset"` it. Released weights have none.
    #[serde(default)]
    pub optimizer_state: OptimizerStateFrom,
    /// Number of steps of a second warm-up, in which the learning rate rises from 0 to the schedule while the
    /// optimizer state builds up. 0: none.
    #[serde(default)]
    pub rewarm_steps: u64,
}

fn default_models_dir() -> PathBuf {
    PathBuf::from("models")
}

/// What happens to the optimizer state of a checkpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerStateFrom {
    /// It is loaded, and the run continues as the checkpoint's own run would. If there is none, it starts at
    /// zero.
    #[default]
    Keep,
    /// It is ignored and starts at zero.
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
