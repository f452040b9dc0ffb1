//! Contribution of an item to a metric.

/// Contribution of an item to a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ItemValue {
    /// A binary outcome. `None` if a score that decides it is not finite.
    Outcome(Option<bool>),
    /// A real number.
    Real(f64),
    /// Numerator and denominator of a ratio of sums.
    Ratio(f64, f64),
}

/// Contribution of an item to a metric, with the item's index and cluster.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ItemScore {
    pub(crate) item: u32,
    pub(crate) cluster: Option<u32>,
    pub(crate) score: ItemValue,
}
