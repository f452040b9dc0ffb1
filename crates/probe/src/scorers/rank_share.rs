//! The part of a round that one of several processes scores.

/// One of several processes that score a round together, each with the same weights: it takes every `of`th batch. A batch is the same
/// whoever takes it, and so are the bits of its scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankShare {
    /// Which one this is, from 0.
    pub rank: usize,
    /// How many there are.
    pub size: usize,
}

impl RankShare {
    /// There is one process, which takes all.
    pub const WHOLE: Self = Self { rank: 0, size: 1 };

    /// Whether a batch, by its number, is this process's.
    #[must_use]
    pub fn takes(self, batch: usize) -> bool {
        batch % self.size == self.rank
    }
}
