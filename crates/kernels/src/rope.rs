//! Rotary position embedding.

use burn::{
    backend::Dispatch,
    tensor::{Device, Tensor, TensorData},
};

use crate::cpu::{self, CpuKernels};

/// Cosines and sines that [`rope`] rotates by, for the positions of one batch.
#[derive(Clone, Debug)]
pub struct RotaryTable {
    /// `[rows, tokens, 1, head_dim / 2]`, where `rows` is the batch size, or 1 if all rows share their
    /// positions.
    cos: Tensor<4>,
    sin: Tensor<4>,
}

impl RotaryTable {
    /// Computes the angles `position · theta^(-2i / head_dim)` for `i < head_dim / 2`.
    ///
    /// `positions` is row-major `[rows, tokens]`. Frequencies and angles are rounded to float32 as in the
    /// reference implementation. At position 2000 the rounding changes an angle by 1e-4, which more precise
    /// arithmetic would not reproduce.
    ///
    /// # Panics
    /// If the number of positions isn't a multiple of `time`, or if `head_dim` is odd.
    #[must_use]
    pub fn new(positions: &[u32], time: usize, head_dim: usize, theta: f64, device: &Device) -> Self {
        assert!(head_dim.is_multiple_of(2), "RoPE rotates pairs: head_dim {head_dim} must be even");
        assert!(positions.len().is_multiple_of(time), "{} positions are not rows of {time}", positions.len());
        let half = head_dim / 2;
        let frequencies: Vec<f32> =
            (0..half).map(|i| 1.0 / theta.powf(f64::from(2.0 * i as f32 / head_dim as f32)) as f32).collect();
        let mut cos = Vec::with_capacity(positions.len() * half);
        let mut sin = Vec::with_capacity(positions.len() * half);
        for &position in positions {
            for frequency in &frequencies {
                let angle = f64::from(position as f32 * frequency);
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        let shape = [positions.len() / time, time, 1, half];
        let tensor = |values| Tensor::from_data(TensorData::new(values, shape), device);
        Self { cos: tensor(cos), sin: tensor(sin) }
    }

    /// Size of the heads to rotate.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        2 * self.cos.dims()[3]
    }

    /// Returns cosines and sines.
    pub(crate) fn tables(&self) -> (Tensor<4>, Tensor<4>) {
        (self.cos.clone(), self.sin.clone())
    }
}

/// Rotary position embedding (Su et al., 2021) of `[batch, tokens, heads, head_dim]`, in Hugging Face's
/// half-split convention: element `i` of a head is paired with element `i + head_dim / 2`.
#[must_use]
pub fn rope(x_bthe: Tensor<4>, rotary: &RotaryTable) -> Tensor<4> {
    if cpu::supports(&x_bthe) {
        let (cos, sin) = rotary.tables();
        return Tensor::from_dispatch(Dispatch::rope(
            x_bthe.into_dispatch(),
            cos.into_dispatch(),
            sin.into_dispatch(),
        ));
    }
    portable(x_bthe, rotary)
}

fn portable(x_bthe: Tensor<4>, rotary: &RotaryTable) -> Tensor<4> {
    let half = x_bthe.dims()[3] / 2;
    let first = x_bthe.clone().narrow(3, 0, half);
    let second = x_bthe.narrow(3, half, half);
    let (cos, sin) = rotary.tables();
    let rotated_first = first.clone() * cos.clone() - second.clone() * sin.clone();
    let rotated_second = second * cos + first * sin;
    Tensor::cat(vec![rotated_first, rotated_second], 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{assert_close, check_bodies, check_gradients, device, random};

    fn rotary(positions: &[u32], time: usize, head_dim: usize) -> RotaryTable {
        RotaryTable::new(positions, time, head_dim, 10_000.0, &device())
    }

    #[test]
    fn position_zero_changes_nothing() {
        let x = Tensor::<3>::from_data(random([1, 1, 12], 3), &device()).reshape([1, 1, 2, 6]);
        assert_close(&rope(x.clone(), &rotary(&[0], 1, 6)), &x, 0.0);
    }

    #[test]
    fn rotates_pairs_half_a_head_apart() {
        let x = Tensor::<4>::from_data([[[[1.0, 0.0, 0.0, 2.0]]]], &device());
        let (slow, fast) = (5.0_f32 * 0.01, 5.0_f32);
        let expected = [[[[fast.cos(), -2.0 * slow.sin(), fast.sin(), 2.0 * slow.cos()]]]];
        assert_close(&rope(x, &rotary(&[5], 1, 4)), &Tensor::from_data(expected, &device()), 1e-6);
    }

    #[test]
    fn scores_depend_on_the_distance_only() {
        let [q, k] = [1, 2]
            .map(|seed| Tensor::<3>::from_data(random([1, 1, 10], seed), &device()).reshape([1, 1, 1, 10]));
        let score = |at_q, at_k| {
            let q = rope(q.clone(), &rotary(&[at_q], 1, 10));
            let k = rope(k.clone(), &rotary(&[at_k], 1, 10));
            (q * k).sum().into_scalar::<f32>()
        };
        assert!((score(9, 4) - score(105, 100)).abs() < 1e-5);
    }

    #[test]
    fn rows_may_have_their_own_positions() {
        let x = Tensor::<3>::from_data(random([2, 2, 6], 3), &device()).reshape([2, 2, 1, 6]);
        let both = rope(x.clone(), &rotary(&[0, 1, 7, 8], 2, 6));
        let second = rope(x.narrow(0, 1, 1), &rotary(&[7, 8], 2, 6));
        assert_close(&both.narrow(0, 1, 1), &second, 0.0);
    }

    #[test]
    fn gradients_match_finite_differences() {
        let rotary = rotary(&[0, 1, 2], 3, 6);
        check_gradients(&[random([2, 3, 12], 1)], move |[x]| {
            rope(x.reshape([2, 3, 2, 6]), &rotary).reshape([2, 3, 12])
        });
    }

    #[test]
    fn both_bodies_agree() {
        for [b, t, h, e] in [[1, 1, 1, 2], [2, 5, 3, 6], [3, 70, 2, 100]] {
            for shared in [true, false] {
                let rows = if shared { 1 } else { b };
                let positions: Vec<u32> = (0..rows * t).map(|i| (i * 7 % 400) as u32).collect();
                let rotary = rotary(&positions, t, e);
                let flat = [b, t, h * e];
                check_bodies(
                    &[random(flat, 1)],
                    |[x]| rope(x.reshape([b, t, h, e]), &rotary).reshape(flat),
                    |[x]| portable(x.reshape([b, t, h, e]), &rotary).reshape(flat),
                );
            }
        }
    }

    #[test]
    fn a_tensor_that_others_hold_is_left_alone() {
        let x = Tensor::<3>::from_data(random([1, 2, 6], 1), &device()).reshape([1, 2, 1, 6]);
        let before = x.to_data();
        let _ = rope(x.clone(), &rotary(&[3, 4], 2, 6));
        assert_eq!(x.into_data(), before);
    }
}
