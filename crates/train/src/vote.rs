use fineline_ranks::Ranks;

use crate::Control;

/// What a rank asks for between two steps. The strongest request of all ranks counts for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vote {
    /// What observers ask for.
    pub(crate) control: Control,
    /// The signal that was received; 0 is none.
    pub(crate) signal: u8,
    /// Whether a checkpoint is due.
    pub(crate) save: bool,
    /// Whether the checkpoint being written is not ready to go on.
    pub(crate) unready: bool,
}

impl Vote {
    /// What all ranks ask for together.
    pub(crate) fn strongest(self, ranks: &dyn Ranks) -> Self {
        let votes = ranks.collect(&self.to_bytes());
        votes.iter().filter_map(|bytes| Self::from_bytes(bytes)).fold(Self::default(), |left, right| Self {
            control: left.control.max(right.control),
            signal: left.signal.max(right.signal),
            save: left.save || right.save,
            unready: left.unready || right.unready,
        })
    }

    fn to_bytes(self) -> Vec<u8> {
        let (kind, step) = self.control.to_numbers();
        let mut bytes = vec![kind, self.signal, self.save.into(), self.unready.into()];
        bytes.extend(step.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let &[kind, signal, save, unready, ref step @ ..] = bytes else { return None };
        let control = Control::from_numbers(kind, u64::from_le_bytes(step.try_into().ok()?));
        Some(Self { control, signal, save: save > 0, unready: unready > 0 })
    }
}
