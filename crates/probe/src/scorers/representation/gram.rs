//! Gram matrices of hidden states.

use nalgebra::DMatrix;
use serde::{Deserialize, Serialize};

/// Variation below this fraction of the features' square sum is rounding: the square of the resolution of
/// `f32`.
const LEAST_VARIATION: f64 = (f32::EPSILON as f64) * (f32::EPSILON as f64);

/// The centred Gram matrix of the features of some texts, scaled to norm 1. Zero if the features are the same
/// for all texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GramMatrix {
    texts: usize,
    /// The upper triangle with the diagonal, row by row.
    upper: Vec<f32>,
}

impl GramMatrix {
    /// From features `[texts, width]`, row by row.
    pub(crate) fn of(features: &[f32], texts: usize) -> Self {
        let width = features.len() / texts;
        let mut x = DMatrix::from_row_iterator(texts, width, features.iter().copied().map(f64::from));
        let squares = x.norm_squared();
        for mut column in x.column_iter_mut() {
            let mean = column.mean();
            column.add_scalar_mut(-mean);
        }
        let gram = &x * x.transpose();
        let scale = if gram.trace() <= LEAST_VARIATION * squares { 0.0 } else { 1.0 / gram.norm() };
        let upper = (0..texts).flat_map(|i| (i..texts).map(move |j| (i, j)));
        Self { texts, upper: upper.map(|element| (gram[element] * scale) as f32).collect() }
    }

    /// From [`upper`](Self::upper). `None` if the length doesn't match the number of texts.
    pub(crate) fn from_upper(texts: usize, upper: Vec<f32>) -> Option<Self> {
        (upper.len() == texts * (texts + 1) / 2).then_some(Self { texts, upper })
    }

    /// The upper triangle with the diagonal, row by row: `texts (texts + 1) / 2` numbers.
    #[must_use]
    pub fn upper(&self) -> &[f32] {
        &self.upper
    }

    /// Whether all numbers are finite.
    pub(crate) fn is_finite(&self) -> bool {
        self.upper.iter().all(|value| value.is_finite())
    }

    pub(crate) fn texts(&self) -> usize {
        self.texts
    }

    pub(crate) fn matrix(&self) -> DMatrix<f64> {
        let mut matrix = DMatrix::zeros(self.texts, self.texts);
        let mut values = self.upper.iter().copied().map(f64::from);
        for i in 0..self.texts {
            for (j, value) in (i..self.texts).zip(&mut values) {
                matrix[(i, j)] = value;
                matrix[(j, i)] = value;
            }
        }
        matrix
    }
}
