//! Agreement of all ranks on requests between steps.

use fineline_ranks::Ranks;
use serde::{Deserialize, Serialize};

use crate::session::observer::TrainerControl;

/// The requests of a rank between two steps. The strongest request of all ranks applies to each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vote {
    /// The request of observers.
    pub(crate) control: TrainerControl,
    /// The signal that was received, if any.
    pub(crate) signal: Option<usize>,
    /// Whether a checkpoint is due.
    pub(crate) save: bool,
    /// Whether the checkpoint being written is not ready to advance.
    pub(crate) unready: bool,
}

impl Vote {
    /// Combines the votes of all ranks. Collective.
    pub(crate) fn strongest(self, ranks: &dyn Ranks) -> Self {
        ranks.all_gather(&self).into_iter().fold(Self::default(), |left, right| Self {
            control: left.control.max(right.control),
            signal: left.signal.max(right.signal),
            save: left.save || right.save,
            unready: left.unready || right.unready,
        })
    }
}
