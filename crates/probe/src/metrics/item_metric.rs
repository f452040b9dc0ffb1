//! A metric: a quantity of each item, and its aggregation over items.

use fineline_dynamics::{Clusters, Estimate, mean, proportion, ratio};

use crate::items::item_row::ItemRow;
use crate::metrics::item_score::ItemValue;

/// A quantity of each item, and its aggregation over items.
#[derive(Clone, Copy)]
pub(crate) struct ItemMetric {
    pub(crate) name: &'static str,
    pub(crate) measure: ItemMeasure,
    /// Transformation of the estimate over the items.
    pub(crate) finish: fn(Estimate) -> Estimate,
    pub(crate) higher_is_better: bool,
}

#[derive(Clone, Copy)]
pub(crate) enum ItemMeasure {
    /// A binary outcome. `None` if a score that decides it is not finite.
    Outcome(fn(&[ItemRow]) -> Option<bool>),
    /// A real number.
    Score(fn(&[ItemRow]) -> f64),
    /// Numerator and denominator of a ratio of sums.
    Ratio(fn(&[ItemRow]) -> (f64, f64)),
}

impl ItemMeasure {
    pub(crate) fn estimate(self, items: &[&[ItemRow]], clusters: &Clusters) -> Estimate {
        match self {
            Self::Outcome(outcome) => {
                let outcomes: Option<Vec<bool>> = items.iter().map(|item| outcome(item)).collect();
                outcomes.map_or(Estimate::UNKNOWN, |outcomes| proportion(&outcomes, clusters))
            }
            Self::Score(score) => mean(&items.iter().map(|item| score(item)).collect::<Vec<_>>(), clusters),
            Self::Ratio(parts) => ratio(&items.iter().map(|item| parts(item)).collect::<Vec<_>>(), clusters),
        }
    }

    pub(crate) fn of(self, item: &[ItemRow]) -> ItemValue {
        match self {
            Self::Outcome(outcome) => ItemValue::Outcome(outcome(item)),
            Self::Score(score) => ItemValue::Real(score(item)),
            Self::Ratio(parts) => {
                let (numerator, denominator) = parts(item);
                ItemValue::Ratio(numerator, denominator)
            }
        }
    }
}

pub(crate) const fn metric(name: &'static str, measure: ItemMeasure) -> ItemMetric {
    ItemMetric { name, measure, finish: |estimate| estimate, higher_is_better: true }
}

/// A metric whose lower values are better.
pub(crate) const fn loss(name: &'static str, measure: ItemMeasure) -> ItemMetric {
    ItemMetric { higher_is_better: false, ..metric(name, measure) }
}

pub(crate) const fn perplexity(name: &'static str, measure: ItemMeasure) -> ItemMetric {
    ItemMetric { finish: Estimate::exp, ..loss(name, measure) }
}
