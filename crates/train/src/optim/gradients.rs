//! Gradients accumulated over micro-batches, as flat vectors.

use burn::tensor::{Gradients, Tensor};
use fineline_kernels::{add_to, sum_of_squares};
use fineline_model::Llama;

use crate::parameters::{ByName, take_gradients};

/// Name of the embedding parameter.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// The gradients of one step, accumulated over its micro-batches.
#[derive(Default)]
pub(crate) struct GradientSum(pub(crate) ByName<Tensor<1>>);

impl GradientSum {
    /// Takes the gradients of one backward pass.
    pub(crate) fn from_backward(model: &Llama, gradients: Gradients) -> Self {
        Self(take_gradients(model, gradients))
    }

    /// Removes and returns the gradient of a parameter, `[n]`, if there is one.
    pub(crate) fn take(&mut self, name: &str) -> Option<Tensor<1>> {
        self.0.remove(name)
    }

    /// Returns the sum of both, parameter by parameter.
    pub(crate) fn plus(self, other: Self) -> Self {
        let mut sum = self.0;
        for (name, right) in other.0 {
            let total = match sum.remove(&name) {
                Some(left) => add_to(left, right),
                None => right,
            };
            sum.insert(name, total);
        }
        Self(sum)
    }

    /// Sets the gradient of one row of the embedding to zero. A row of zeros then stays zero, because weight
    /// decay scales it.
    pub(crate) fn freeze_embedding_row(&mut self, row: usize, width: usize) {
        if let Some(gradient) = self.0.remove(EMBEDDING) {
            self.0.insert(EMBEDDING.to_owned(), gradient.slice_fill(row * width..(row + 1) * width, 0.0));
        }
    }

    /// Returns the norm of all gradients as one vector, `[1]`, still on the device. `None` without gradients.
    pub(crate) fn norm(&self) -> Option<Tensor<1>> {
        let squares: Vec<Tensor<1>> = self.0.values().cloned().map(sum_of_squares).collect();
        (!squares.is_empty()).then(|| Tensor::cat(squares, 0).sum().sqrt())
    }
}

#[cfg(test)]
impl GradientSum {
    /// Sets every value of the first gradient to `value`.
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
