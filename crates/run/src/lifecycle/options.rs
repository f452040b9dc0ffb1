//! What the caller of `train` decides.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use fineline_train::StopSignal;

use super::faults::Faults;

use crate::start::{FetchedWeights, ResumeRequest};
use crate::triggers::Notify;

/// What the caller of [`train`](super::train) decides.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Where to begin.
    pub resume: ResumeRequest,
    /// Keys that may differ from what the run was started with.
    pub allow_changes: Vec<String>,
    /// What `init.from` stands for, if that is a model of the hub: the caller, who knows of the hub, has found it.
    pub fetched: Option<FetchedWeights>,
    /// How the caller asks for the end.
    pub stop: StopSignal,
    /// Ends the process at once, with a message, where other ranks are waited for in vain. Nothing else can: the thread of this one waits.
    /// Without it, ranks wait for ever.
    pub give_up: Option<fn(&str) -> !>,
    /// Stop, as if asked to, after this step.
    pub stop_after: Option<u64>,
    /// How the caller asks for a checkpoint, after which training goes on. Taken back once it is seen.
    pub checkpoint: Arc<AtomicBool>,
    /// Who tells others of triggers; without one, webhooks are not called.
    pub notify: Option<Arc<dyn Notify>>,
    /// What is to go wrong on purpose.
    pub faults: Faults,
}
