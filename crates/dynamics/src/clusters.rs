use std::collections::BTreeMap;

/// Which items are not independent of each other.
///
/// Questions about the same passage, person or fact are answered well or badly together: ten of them say less than ten questions
/// about ten. Whatever is estimated with clusters has one score for each of their items.
#[derive(Clone, Debug)]
pub struct Clusters {
    /// The cluster of each item; clusters are numbered in the order in which they first occur.
    of_item: Vec<usize>,
    count: usize,
}

impl Clusters {
    /// Each of `items` items by itself.
    #[must_use]
    pub fn singletons(items: usize) -> Self {
        Self { of_item: (0..items).collect(), count: items }
    }

    /// Items with the same label are a cluster; each without a label is one by itself.
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

    /// How many items there are.
    pub(crate) fn items(&self) -> usize {
        self.of_item.len()
    }

    /// Whether every item is independent of the others.
    pub(crate) fn are_singletons(&self) -> bool {
        self.count == self.items()
    }

    /// Degrees of freedom of a spread among the clusters.
    #[must_use]
    pub fn degrees_of_freedom(&self) -> usize {
        self.count.saturating_sub(1)
    }

    /// The variance of the sum of `residuals`, one for each item, whose expectation is 0: Liang and Zeger's cluster-robust one (1986)
    /// with the small-sample factor G/(G−1). `None` of a single cluster, which shows no spread.
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
