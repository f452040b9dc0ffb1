//! Similarity of two representations of the same texts, independent of the bases of their spaces.
//!
//! A representation of `n` texts is a matrix `X` with one row per text. What is compared are centred Gram
//! matrices `K = X Xᵀ`, which are invariant under rotation of the space.
//!
//! - Linear centred kernel alignment (Kornblith et al. 2019): `CKA = HSIC(K, L) / √(HSIC(K, K) HSIC(L, L))`,
//!   with the unbiased estimator of `HSIC` (Song et al. 2012, eq. 5; for CKA: Nguyen et al. 2021, eq. 3). The
//!   plain estimator tends to 1 if there are fewer texts than dimensions, even for unrelated features. The
//!   unbiased one is about 0 for them, and may be negative.
//! - Mean squared canonical correlation of the leading principal components (SVCCA; Raghu et al. 2017, in the
//!   form `R²` of Kornblith et al.).

use std::collections::BTreeMap;

use nalgebra::{DMatrix, SymmetricEigen};

use crate::scorers::representation::gram::GramMatrix;

/// Fraction of the variance that the principal components compared by [`LeadingComponents::similarity`]
/// explain.
const EXPLAINED: f64 = 0.99;

/// Minimum number of texts per compared component. Unrelated components correlate too, in proportion to their
/// number relative to the texts.
const TEXTS_PER_COMPONENT: usize = 8;

/// Texts of each cluster, which the jackknife leaves out together. A text without a cluster is its own group.
pub(crate) fn groups(clusters: &[Option<u32>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut index_of = BTreeMap::new();
    for (text, cluster) in clusters.iter().enumerate() {
        let next = groups.len();
        let index = cluster.map_or(next, |cluster| *index_of.entry(cluster).or_insert(next));
        if index == next {
            groups.push(Vec::new());
        }
        groups[index].push(text);
    }
    groups
}

/// A statistic of all texts, and of all texts but each group in turn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct JackknifeStatistic {
    pub(crate) value: f64,
    pub(crate) without: Vec<f64>,
}

impl JackknifeStatistic {
    fn map2(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let without = self.without.iter().zip(&other.without).map(|(&a, &b)| f(a, b)).collect();
        Self { value: f(self.value, other.value), without }
    }

    /// Mean of several statistics. `None` if there are none.
    pub(crate) fn mean<'a>(all: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut count = 0.0;
        let mut sum: Option<Self> = None;
        for one in all {
            count += 1.0;
            sum = Some(sum.map_or_else(|| one.clone(), |sum| sum.map2(one, |a, b| a + b)));
        }
        sum.map(|sum| sum.map2(&sum, |sum, _| sum / count))
    }
}

/// A Gram matrix prepared for comparisons: without its diagonal, as the unbiased estimator requires.
#[derive(Clone, Debug)]
pub(crate) struct GramKernel<'a> {
    matrix: DMatrix<f64>,
    row_sums: Vec<f64>,
    groups: &'a [Vec<usize>],
    own: JackknifeStatistic,
}

impl<'a> GramKernel<'a> {
    pub(crate) fn new(gram: &GramMatrix, groups: &'a [Vec<usize>]) -> Self {
        let mut matrix = gram.matrix();
        matrix.fill_diagonal(0.0);
        let row_sums = matrix.column_iter().map(|column| column.sum()).collect();
        let own = JackknifeStatistic { value: f64::NAN, without: Vec::new() };
        let mut kernel = Self { matrix, row_sums, groups, own };
        kernel.own = kernel.hsic(&kernel);
        kernel
    }

    /// CKA. NaN if the features of either representation are the same for all texts.
    pub(crate) fn cka(&self, other: &Self) -> JackknifeStatistic {
        let norms = self.own.map2(&other.own, |own, others| (own * others).sqrt());
        self.hsic(other).map2(&norms, |hsic, norm| if norm > 0.0 { hsic / norm } else { f64::NAN })
    }

    /// Unbiased estimate of the Hilbert–Schmidt independence criterion.
    ///
    /// For each left-out group, its rows and columns are subtracted from the sums: linear in the number of
    /// texts for each text of the group, instead of quadratic.
    fn hsic(&self, other: &Self) -> JackknifeStatistic {
        let (a, b) = (&self.matrix, &other.matrix);
        let texts = a.nrows();
        let products: Vec<f64> = a.column_iter().zip(b.column_iter()).map(|(a, b)| a.dot(&b)).collect();
        let whole = HsicSums {
            texts,
            product: products.iter().sum(),
            a: self.row_sums.iter().sum(),
            b: other.row_sums.iter().sum(),
            rows: self.row_sums.iter().zip(&other.row_sums).map(|(a, b)| a * b).sum(),
        };
        let without = |group: &Vec<usize>| {
            let mut left = HsicSums { texts: texts - group.len(), rows: 0.0, ..whole };
            for &text in group {
                left.product -= 2.0 * products[text];
                left.a -= 2.0 * self.row_sums[text];
                left.b -= 2.0 * other.row_sums[text];
                for &other_text in group {
                    let (a, b) = (a[(text, other_text)], b[(text, other_text)]);
                    left.product += a * b;
                    left.a += a;
                    left.b += b;
                }
            }
            for text in (0..texts).filter(|text| !group.contains(text)) {
                let row = |sums: &[f64], matrix: &DMatrix<f64>| {
                    sums[text] - group.iter().map(|&left_out| matrix[(left_out, text)]).sum::<f64>()
                };
                left.rows += row(&self.row_sums, a) * row(&other.row_sums, b);
            }
            left.hsic()
        };
        JackknifeStatistic { value: whole.hsic(), without: self.groups.iter().map(without).collect() }
    }
}

/// Sums over two matrices with zero diagonals that the estimator needs.
#[derive(Clone, Copy)]
struct HsicSums {
    texts: usize,
    /// Sum of the products of elements: `tr(K L)`.
    product: f64,
    /// Sums of all elements of each: `1ᵀ K 1`, `1ᵀ L 1`.
    a: f64,
    b: f64,
    /// Sum of the products of row sums: `1ᵀ K L 1`.
    rows: f64,
}

impl HsicSums {
    fn hsic(self) -> f64 {
        if self.texts < 4 {
            return f64::NAN;
        }
        let n = self.texts as f64;
        let together = self.product + self.a * self.b / ((n - 1.0) * (n - 2.0)) - 2.0 * self.rows / (n - 2.0);
        together / (n * (n - 3.0))
    }
}

/// Leading principal components of a representation, as an orthonormal basis in the space of texts.
#[derive(Clone, Debug)]
pub(crate) struct LeadingComponents(DMatrix<f64>);

impl LeadingComponents {
    /// `None` if the features don't vary, or aren't finite.
    pub(crate) fn of(gram: &GramMatrix) -> Option<Self> {
        if !gram.is_finite() {
            return None;
        }
        let SymmetricEigen { eigenvectors, eigenvalues } = SymmetricEigen::new(gram.matrix());
        let mut order: Vec<usize> = (0..gram.texts()).collect();
        order.sort_by(|&a, &b| eigenvalues[b].total_cmp(&eigenvalues[a]));
        let total: f64 = eigenvalues.iter().sum();
        let mut explained = 0.0;
        let leading: Vec<usize> = order
            .into_iter()
            .take((gram.texts() / TEXTS_PER_COMPONENT).max(1))
            .take_while(|&index| {
                let continues = explained < EXPLAINED * total;
                explained += eigenvalues[index];
                continues
            })
            .collect();
        (!leading.is_empty()).then(|| Self(eigenvectors.select_columns(&leading)))
    }

    /// Mean of the squared canonical correlations, as many as the smaller of both has components. In `0..=1`.
    /// For unrelated representations, about the larger number of components divided by the number of texts.
    pub(crate) fn similarity(&self, other: &Self) -> f64 {
        let correlations = self.0.transpose() * &other.0;
        correlations.norm_squared() / self.0.ncols().min(other.0.ncols()) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    /// Written by `scripts/fixtures/similarity.py`.
    #[derive(Deserialize)]
    struct Reference {
        texts: usize,
        clusters: Vec<Option<u32>>,
        features: BTreeMap<String, Vec<f32>>,
        pairs: Vec<Pair>,
    }

    #[derive(Deserialize)]
    struct Pair {
        a: String,
        b: String,
        cka: Option<f64>,
        without_each_cluster: Vec<Option<f64>>,
        cca: Option<f64>,
    }

    fn reference() -> Reference {
        serde_json::from_str(include_str!("../../tests/fixtures/similarity.json")).unwrap()
    }

    #[track_caller]
    fn assert_near(actual: f64, expected: Option<f64>, what: &str) {
        match expected {
            Some(expected) => assert!((actual - expected).abs() < 1e-6, "{what}: {actual}, not {expected}"),
            None => assert!(actual.is_nan(), "{what}: {actual}"),
        }
    }

    /// The pairs include features with themselves, rotated, scaled and shifted, with other features, with
    /// wide noise, and with constants.
    #[test]
    fn equals_numpy() {
        let reference = reference();
        let groups = groups(&reference.clusters);
        let gram = |name: &str| GramMatrix::of(&reference.features[name], reference.texts);
        assert!(reference.pairs.len() >= 6);
        for pair in &reference.pairs {
            let what = format!("{} and {}", pair.a, pair.b);
            let (a, b) = (gram(&pair.a), gram(&pair.b));
            let cka = GramKernel::new(&a, &groups).cka(&GramKernel::new(&b, &groups));
            assert_near(cka.value, pair.cka, &what);
            assert_eq!(cka.without.len(), pair.without_each_cluster.len());
            for (without, expected) in cka.without.iter().zip(&pair.without_each_cluster) {
                assert_near(*without, *expected, &what);
            }
            let cca = LeadingComponents::of(&a)
                .zip(LeadingComponents::of(&b))
                .map_or(f64::NAN, |(a, b)| a.similarity(&b));
            assert_near(cca, pair.cca, &format!("CCA of {what}"));
        }
    }

    #[test]
    fn a_representation_is_like_itself_in_any_basis() {
        let reference = reference();
        let groups = groups(&reference.clusters);
        let kernel = |name: &str| {
            GramKernel::new(&GramMatrix::of(&reference.features[name], reference.texts), &groups)
        };
        let x = kernel("x");
        for same in ["x", "x_rotated", "x_scaled", "x_shifted"] {
            assert!((x.cka(&kernel(same)).value - 1.0).abs() < 1e-6, "{same}");
        }
        assert!(x.cka(&kernel("noise")).value < 0.5);
        assert!(x.cka(&kernel("constant")).value.is_nan());
    }

    #[test]
    fn what_is_no_number_is_like_nothing() {
        let reference = reference();
        let mut features = reference.features["x"].clone();
        features[3] = f32::NAN;
        let broken = GramMatrix::of(&features, reference.texts);
        assert!(!broken.is_finite() && LeadingComponents::of(&broken).is_none());
        let groups = groups(&reference.clusters);
        let kernel = GramKernel::new(&broken, &groups);
        assert!(kernel.cka(&kernel).value.is_nan());
    }

    #[test]
    fn texts_of_a_cluster_are_left_out_together() {
        let groups = groups(&[Some(7), None, Some(0), Some(7), None]);
        assert_eq!(groups, [vec![0, 3], vec![1], vec![2], vec![4]]);
    }

    #[test]
    fn means_are_taken_value_by_value() {
        let one = |value: f64, without: &[f64]| JackknifeStatistic { value, without: without.to_vec() };
        let mean = JackknifeStatistic::mean(&[one(1.0, &[2.0, 4.0]), one(3.0, &[0.0, 5.0])]);
        assert_eq!(mean, Some(one(2.0, &[1.0, 4.5])));
        assert_eq!(JackknifeStatistic::mean(&[]), None);
    }
}
