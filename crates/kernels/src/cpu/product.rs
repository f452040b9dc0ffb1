//! Matrix products on slices, by the `gemm` crate.

use gemm::Parallelism;

/// A matrix in a slice, perhaps transposed.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The rows of `columns` values each that `values` holds.
    pub(super) fn new(values: &'a [f32], columns: usize) -> Self {
        Self { values, rows: values.len() / columns, columns, row_stride: columns, column_stride: 1 }
    }

    /// The transpose. Nothing is moved.
    pub(super) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// What becomes of the values that were there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    /// They are replaced.
    Set,
    /// The product is added to them.
    Add,
}

/// Who computes a product.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Threads {
    /// The calling thread.
    One,
    /// All, where it is worth it.
    All,
}

/// Multiply-adds below which a product is not shared among threads.
const PARALLEL_WORK: usize = 1 << 20;

/// `out = a · b`, or `out += a · b`; `out` is row-major.
///
/// # Panics
/// If the shapes do not fit.
pub(super) fn product(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, into: Into, threads: Threads) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "inner dimensions");
    assert_eq!(out.len(), m * n, "size of the result");
    assert!(a.values.len() >= m * k && b.values.len() >= k * n, "sizes of the factors");
    if m * n == 0 {
        return;
    }
    let parallelism = match threads {
        Threads::All if m * k * n >= PARALLEL_WORK => Parallelism::Rayon(0),
        _ => Parallelism::None,
    };
    #[allow(unsafe_code, reason = "the library takes raw pointers")]
    // SAFETY: `Matrix` is dense, row-major or its transpose, so all of its elements lie within its first rows * columns
    // values, and `out` is dense with m * n of them, as asserted above. `out` is borrowed exclusively: it overlaps neither factor.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            n.cast_signed(),
            into == Into::Add,
            a.values.as_ptr(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.values.as_ptr(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            1.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting(len: usize) -> Vec<f32> {
        (0..len).map(|i| (i % 7) as f32 - 3.0).collect()
    }

    fn at(x: Matrix<'_>, row: usize, column: usize) -> f32 {
        x.values[row * x.row_stride + column * x.column_stride]
    }

    #[test]
    fn multiplies_every_layout() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 2), (1, 17, 9), (20, 3, 33), (130, 64, 129)] {
            let (a, b) = (counting(m * k), counting(k * n));
            let layouts = [
                (Matrix::new(&a, k), Matrix::new(&b, n)),
                (Matrix::new(&a, m).t(), Matrix::new(&b, n)),
                (Matrix::new(&a, k), Matrix::new(&b, k).t()),
                (Matrix::new(&a, m).t(), Matrix::new(&b, k).t()),
            ];
            for (a, b) in layouts {
                let exact = |i: usize| (0..k).map(|j| at(a, i / n, j) * at(b, j, i % n)).sum::<f32>();
                let mut out = vec![f32::NAN; m * n];
                product(&mut out, a, b, Into::Set, Threads::All);
                assert!(out.iter().enumerate().all(|(i, &x)| x.to_bits() == exact(i).to_bits()));
                product(&mut out, a, b, Into::Add, Threads::One);
                assert!(out.iter().enumerate().all(|(i, &x)| x.to_bits() == (2.0 * exact(i)).to_bits()));
            }
        }
    }

    #[test]
    #[should_panic(expected = "inner dimensions")]
    fn shapes_must_fit() {
        product(&mut [0.0], Matrix::new(&[1.0, 2.0], 2), Matrix::new(&[1.0], 1), Into::Set, Threads::One);
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_bits() {
        let (m, k, n) = (130, 301, 97);
        let (a, b): (Vec<f32>, Vec<f32>) = (
            (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect(),
            (0..k * n).map(|i| (i as f32 * 0.73).cos()).collect(),
        );
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut out = vec![0.0; m * n];
            pool.install(|| {
                product(&mut out, Matrix::new(&a, k), Matrix::new(&b, n), Into::Set, Threads::All);
            });
            out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        let one = run(1);
        assert!([2, 3, 5].into_iter().all(|threads| run(threads) == one));
    }
}
