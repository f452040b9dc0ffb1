//! Embedding look-up.

use burn::{
    backend::Dispatch,
    tensor::{Int, Tensor},
};

use crate::cpu::{self, CpuKernels};

/// Looks up the rows of `weight` by token: `[vocab, hidden]` and `[batch, tokens]` give `[batch, tokens,
/// hidden]`.
///
/// Gradients of repeated tokens are added in the order of their positions.
#[must_use]
pub fn embedding(weight_vd: Tensor<2>, tokens_bt: Tensor<2, Int>) -> Tensor<3> {
    if cpu::supports(&weight_vd) {
        return Tensor::from_dispatch(Dispatch::embedding_rows(
            weight_vd.into_dispatch(),
            tokens_bt.into_dispatch(),
        ));
    }
    burn::tensor::module::embedding(weight_vd, tokens_bt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_bodies, check_gradients, device, random};
    use burn::tensor::TensorData;

    #[test]
    fn gradients_add_up_over_repeated_tokens() {
        let tokens = Tensor::<2, Int>::from_data([[3, 1, 3], [0, 3, 1]], &device());
        check_gradients(&[random([1, 5, 4], 1)], move |[weight]| {
            embedding(weight.reshape([5, 4]), tokens.clone())
        });
    }

    #[test]
    fn both_bodies_agree() {
        for [vocab, width, batch, time] in [[1, 1, 1, 1], [300, 7, 3, 50], [1000, 33, 2, 5]] {
            let ids: Vec<u32> = (0..batch * time).map(|i| (i * 37 % vocab) as u32).collect();
            let tokens = Tensor::<2, Int>::from_data(TensorData::new(ids, [batch, time]), &device());
            check_bodies(
                &[random([1, vocab, width], 1)],
                |[w]| embedding(w.reshape([vocab, width]), tokens.clone()),
                |[w]| burn::tensor::module::embedding(w.reshape([vocab, width]), tokens.clone()),
            );
        }
    }
}
