//! Loops over slices that the compiler vectorizes, dispatched at run time by the instruction sets of the
//! machine.
//!
//! Sums use [`LANES`] partial sums whatever the machine's vector width, and products are rounded before they
//! are added (no fused multiply-add), so every machine computes the same bits.

use macerator::{Simd, with_simd};

/// Number of partial sums of a reduction.
const LANES: usize = 16;

/// Returns `e^x` within two units in the last place, without branches. Returns 0 below about -87, and NaN for
/// NaN.
///
/// Follows Cephes' `expf`: `x = n ln 2 + r`, a polynomial for `e^r`, and `n` added to the exponent.
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the digits Cephes gives")]
pub(super) fn exp(x: f32) -> f32 {
    /// Adding and subtracting this number rounds to an integer, whose bits are the low bits of the
    /// intermediate sum.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_375;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let below = x < -87.3;
    let x = if below { -87.3 } else { x };
    let x = if x > 88.3 { 88.3 } else { x };
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * LN2_HIGH - n * LN2_LOW;
    let mut p = 1.987_569_150_0e-4;
    p = p * r + 1.398_199_950_7e-3;
    p = p * r + 8.333_451_907_3e-3;
    p = p * r + 4.166_579_589_4e-2;
    p = p * r + 1.666_666_545_9e-1;
    p = p * r + 5.000_000_120_1e-1;
    let e_r = p * r * r + r + 1.0;
    let scaled = f32::from_bits(e_r.to_bits().wrapping_add(shifted.to_bits() << 23));
    let e_x = if below { 0.0 } else { scaled };
    // The result of `wrapping_add` for a NaN depends on its payload.
    if x.is_nan() { x } else { e_x }
}

/// Rounds `values` to the nearest bfloat16 values, ties to even. NaN stays NaN.
#[with_simd]
pub(super) fn round_to_bf16<S: Simd>(values: &[f32], rounded: &mut [f32]) {
    for (rounded, &value) in rounded.iter_mut().zip(values) {
        let bits = value.to_bits();
        let nearest = bits.wrapping_add(0x7fff + (bits >> 16 & 1));
        // The addition could carry a NaN over to infinity or to zero.
        let kept = if value.is_nan() { bits | 0x40_0000 } else { nearest };
        *rounded = f32::from_bits(kept & 0xffff_0000);
    }
}

/// Returns `1 / (1 + e^-x)`.
#[inline(always)]
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Adds the partial sums in a fixed order, pairwise.
#[inline(always)]
fn total(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Returns `Σ f(aᵢ, bᵢ)`, added in a fixed order.
#[inline(always)]
pub(super) fn sum_pairs(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for i in 0..LANES {
            lanes[i] += f(a[i], b[i]);
        }
    }
    for (i, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[i] += f(*a, *b);
    }
    total(lanes)
}

/// Returns `Σ aᵢ bᵢ cᵢ`, added in a fixed order.
#[inline(always)]
pub(super) fn sum_triples(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let (c_blocks, c_rest) = c.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, (b, c)) in a_blocks.iter().zip(b_blocks.iter().zip(c_blocks)) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i] * c[i];
        }
    }
    for (lane, (a, (b, c))) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest.iter().zip(c_rest))) {
        *lane += a * b * c;
    }
    total(lanes)
}

/// Returns `Σ aᵢ bᵢ`.
#[with_simd]
pub(super) fn dot<S: Simd>(a: &[f32], b: &[f32]) -> f32 {
    sum_pairs(a, b, |a, b| a * b)
}

/// Returns the largest value, or negative infinity for an empty slice. NaN is ignored.
#[with_simd]
pub(super) fn max<S: Simd>(values: &[f32]) -> f32 {
    let (blocks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for block in blocks {
        for i in 0..LANES {
            lanes[i] = if block[i] > lanes[i] { block[i] } else { lanes[i] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
}

/// Replaces each value by `e^(value - shift)` and returns their sum.
#[with_simd]
pub(super) fn exp_and_sum<S: Simd>(values: &mut [f32], shift: f32) -> f32 {
    let (blocks, rest) = values.as_chunks_mut::<LANES>();
    let mut lanes = [0.0; LANES];
    for block in blocks {
        for i in 0..LANES {
            block[i] = exp(block[i] - shift);
            lanes[i] += block[i];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = exp(*x - shift);
        *lane += *x;
    }
    total(lanes)
}

/// Returns `Σ e^(value - shift)`.
#[with_simd]
pub(super) fn sum_exp<S: Simd>(values: &[f32], shift: f32) -> f32 {
    sum_pairs(values, values, |x, _| exp(x - shift))
}

/// Multiplies each value by `factor`.
#[with_simd]
pub(super) fn scale<S: Simd>(values: &mut [f32], factor: f32) {
    for x in values {
        *x *= factor;
    }
}

/// Writes `a + b` to `out`.
#[with_simd]
pub(super) fn sum<S: Simd>(out: &mut [f32], a: &[f32], b: &[f32]) {
    for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) {
        *out = a + b;
    }
}

/// Adds `other` to `values`.
#[with_simd]
pub(super) fn add<S: Simd>(values: &mut [f32], other: &[f32]) {
    for (x, y) in values.iter_mut().zip(other) {
        *x += y;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bfloat16_is_the_nearest() {
        let rounded = |value: f32| {
            let mut rounded = [0.0];
            round_to_bf16(&[value], &mut rounded);
            rounded[0]
        };
        // Every bfloat16 value, exactly, and with a remainder just below, at, and above half of its last bit.
        for kept in 0..=u16::MAX {
            for rest in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits(u32::from(kept) << 16 | rest);
                let expected = burn::tensor::bf16::from_f32(value).to_f32();
                let same = rounded(value).to_bits() == expected.to_bits();
                assert!(same || (value.is_nan() && rounded(value).is_nan()), "{value:e}");
            }
        }
    }

    #[test]
    fn exp_is_close_to_the_exact_one() {
        for i in -9000..=8800 {
            let x = i as f32 * 0.01 + 0.000_37;
            if x > 88.3 {
                continue;
            }
            let exact = f64::from(x).exp();
            let relative = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(relative < 2.5e-7 || (x < -87.2 && exp(x) < 1.3e-38), "e^{x} is off by {relative:e}");
        }
    }

    #[test]
    fn exp_has_its_limits() {
        assert_eq!(exp(0.0).to_bits(), 1.0_f32.to_bits());
        assert_eq!(exp(f32::NEG_INFINITY).to_bits(), 0.0_f32.to_bits());
        assert!(exp(f32::INFINITY) > 1e38);
        for payload in [1, 0x1ff, 0x200, 0x40_0000, 0x7f_ffff] {
            assert!(exp(f32::from_bits(0x7f80_0000 | payload)).is_nan());
            assert!(exp(f32::from_bits(0xff80_0000 | payload)).is_nan());
        }
    }

    #[test]
    fn reductions_take_every_length() {
        for len in 0..70 {
            let values: Vec<f32> = (0..len).map(|i| (i * 37 % 11) as f32 - 5.0).collect();
            let squares: f32 = values.iter().map(|x| x * x).sum();
            assert!((dot(&values, &values) - squares).abs() < 1e-6);
            let cubes: f32 = values.iter().map(|x| x * x * x).sum();
            assert!((sum_triples(&values, &values, &values) - cubes).abs() < 1e-6);
            assert_eq!(
                max(&values).to_bits(),
                values.iter().copied().fold(f32::NEG_INFINITY, f32::max).to_bits()
            );
            let expected: f64 = values.iter().map(|&x| f64::from(x - 2.0).exp()).sum();
            let mut replaced = values.clone();
            assert!((f64::from(exp_and_sum(&mut replaced, 2.0)) - expected).abs() < 1e-3);
            assert!((f64::from(sum_exp(&values, 2.0)) - expected).abs() < 1e-3);
        }
    }

    #[test]
    fn a_nan_reaches_the_sum() {
        let mut values = [1.0, f32::NAN, 3.0];
        let shift = max(&values);
        assert!(exp_and_sum(&mut values, shift).is_nan());
    }
}
