//! Items that aren't independent.

use std::collections::BTreeMap;

/// The grouping of items that aren't independent of each other.
///
/// Questions about the same passage, person or fact tend to be answered correctly or wrongly together, so ten
/// of them carry less information than ten questions about ten. Functions that take clusters expect one score
/// per item.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// The cluster of each item, numbered in the order of first occurrence.
    of_item: Vec<usize>,
    count: usize,
}

impl Clusters {
    /// Creates `items` independent items.
    #[must_use]
    pub fn singletons(items: usize) -> Self {
        Self { of_item: (0..items).collect(), count: items }
    }

    /// Groups items with the same label. An item without a label is a cluster of its own.
    #[must_use]
    pub fn of<L: Ord>(labels: impl IntoIterator<Item = Option<L>>) -> Self {
        let mut count = 0;
        let mut next = || {
            count += 1;
            count - 1
        };
        let mut numbers = BTreeMap::new();
        let of_item = labels
            .into_iter()
            .map(|label| match label {
                Some(label) => *numbers.entry(label).or_insert_with(&mut next),
                None => next(),
            })
            .collect();
        Self { of_item, count }
    }

    /// Number of items.
    pub(crate) fn items(&self) -> usize {
        self.of_item.len()
    }

    /// Returns whether all items are independent.
    pub(crate) fn are_singletons(&self) -> bool {
        self.count == self.items()
    }

    /// Degrees of freedom of the spread among clusters.
    #[must_use]
    pub fn degrees_of_freedom(&self) -> usize {
        self.count.saturating_sub(1)
    }

    /// Variance of the sum of `residuals`, one per item, with expectation 0: the cluster-robust variance of
    /// Liang and Zeger (1986) with the small-sample factor G/(G−1). `None` for a single cluster, which shows
    /// no spread.
    pub(crate) fn variance_of_sum(&self, residuals: impl ExactSizeIterator<Item = f64>) -> Option<f64> {
        assert_eq!(residuals.len(), self.items(), "there is one score for each item");
        let mut sums = vec![0.0; self.count];
        for (&cluster, residual) in self.of_item.iter().zip(residuals) {
            sums[cluster] += residual;
        }
        let squares: f64 = sums.iter().map(|sum| sum * sum).sum();
        (self.count > 1).then(|| squares * self.count as f64 / self.degrees_of_freedom() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_make_clusters_and_their_absence_singletons() {
        let clusters = Clusters::of([Some("b"), None, Some("a"), Some("b"), None]);
        assert_eq!(clusters.of_item, [0, 1, 2, 0, 3]);
        assert_eq!(
            (clusters.items(), clusters.degrees_of_freedom(), clusters.are_singletons()),
            (5, 3, false)
        );
        assert!(Clusters::of([Some(2), Some(1), None]).are_singletons());
        assert!(Clusters::of::<u32>([]).are_singletons());
    }

    #[test]
    fn residuals_add_up_within_a_cluster() {
        let variance = |labels: &[u32], residuals: &[f64]| {
            Clusters::of(labels.iter().map(Some)).variance_of_sum(residuals.iter().copied())
        };
        assert_eq!(variance(&[1, 1, 2, 2], &[1.0, 1.0, -1.0, -1.0]), Some(16.0));
        assert_eq!(variance(&[1, 1, 2, 2], &[1.0, -1.0, 1.0, -1.0]), Some(0.0));
        assert_eq!(variance(&[1, 1], &[1.0, -1.0]), None);
    }
}
