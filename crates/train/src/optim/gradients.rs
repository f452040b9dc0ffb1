//! Gradients added up over micro-batches, as flat vectors.

use burn::tensor::{Gradients, Tensor};
use fineline_kernels::{add_to, sum_of_squares};
use fineline_model::Llama;

use crate::parameters::{ByName, take_gradients};

/// The parameter that tokens are looked up in.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// The gradient of one step, added up over its micro-batches.
#[derive(Default)]
pub(crate) struct GradientSum(pub(crate) ByName<Tensor<1>>);

impl GradientSum {
    /// The gradients of one backward pass.
    pub(crate) fn of(model: &Llama, gradients: Gradients) -> Self {
        Self(take_gradients(model, gradients))
    }

    /// Takes the gradient of a parameter out, `[n]`, if it has one.
    pub(crate) fn take(&mut self, name: &str) -> Option<Tensor<1>> {
        self.0.remove(name)
    }

    /// Both, added up parameter by parameter.
    pub(crate) fn plus(self, other: Self) -> Self {
        let mut sum = self.0;
        for (name, right) in other.0 {
            let both = match sum.remove(&name) {
                Some(left) => add_to(left, right),
                None => right,
            };
            sum.insert(name, both);
        }
        Self(sum)
    }

    /// Takes the gradient of one row of the embedding away. A row that is zero then stays so: decay takes a share of nothing.
    pub(crate) fn freeze_embedding_row(&mut self, row: usize, width: usize) {
        if let Some(gradient) = self.0.remove(EMBEDDING) {
            self.0.insert(EMBEDDING.to_owned(), gradient.slice_fill(row * width..(row + 1) * width, 0.0));
        }
    }

    /// The norm of all gradients as one vector, `[1]`, not yet read from the device.
    ///
    /// `None` if there are none.
    pub(crate) fn norm(&self) -> Option<Tensor<1>> {
        let squares: Vec<Tensor<1>> = self.0.values().cloned().map(sum_of_squares).collect();
        (!squares.is_empty()).then(|| Tensor::cat(squares, 0).sum().sqrt())
    }
}

#[cfg(test)]
impl GradientSum {
    /// Makes every value of the first gradient `value`.
    pub(crate) fn poison(&mut self, value: f64) {
        if let Some(gradient) = self.0.values_mut().next() {
            *gradient = gradient.zeros_like().add_scalar(value);
        }
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "the values are exact")]
mod tests {
    use burn::tensor::Device;

    use super::*;

    fn vector(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(values, &Device::flex())
    }

    #[test]
    fn the_norm_is_that_of_all_gradients_as_one_vector() {
        assert!(GradientSum::default().norm().is_none());
        let sum =
            GradientSum([("b".to_owned(), vector(&[3.0])), ("a".to_owned(), vector(&[0.0, 4.0]))].into());
        assert_eq!(sum.norm().unwrap().into_data().iter::<f32>().collect::<Vec<_>>(), [5.0]);
    }
}
