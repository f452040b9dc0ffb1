//! The share of a round that one of several ranks scores.

/// The share of one of several ranks that score a round together with the same weights: every `size`th batch.
/// The scores of a batch are the same bits on every rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankShare {
    /// The rank, from 0.
    pub rank: usize,
    /// Number of ranks.
    pub size: usize,
}

impl RankShare {
    /// A single rank, which scores everything.
    pub const WHOLE: Self = Self { rank: 0, size: 1 };

    /// Whether this rank scores the batch of this number.
    #[must_use]
    pub fn takes(self, batch: usize) -> bool {
        batch % self.size == self.rank
    }
}
