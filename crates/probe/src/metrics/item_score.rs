//! What an item contributes to a metric.

/// What an item contributes to a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ItemValue {
    /// Yes or no; `None` if a score that decides it is not finite.
    Outcome(Option<bool>),
    /// A real number.
    Real(f64),
    /// Numerator and denominator of a ratio of sums.
    Ratio(f64, f64),
}

/// The score of an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemScore {
    pub(crate) item: u32,
    pub(crate) cluster: Option<u32>,
    pub(crate) score: ItemValue,
}
