//! Matrix multiplication on slices. Uses `private-gemm-x86`, the kernels of the linear algebra library faer,
//! if the processor has AVX-512, and the `gemm` crate otherwise. Each is the faster one there
//! (docs/performance.md).

use std::{marker::PhantomData, ops::Range};

use gemm::Parallelism;
use rayon::prelude::*;

use super::buffer::Buffer;
use super::vector;
use crate::precision::Precision;

/// A view of a matrix in a slice: strided rows, optionally transposed, scaled, and rounded to another
/// precision.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
    scale: f32,
    precision: Precision,
}

impl<'a> Matrix<'a> {
    /// The matrix of the rows of `columns` values each in `values`.
    pub(super) fn new(values: &'a [f32], columns: usize) -> Self {
        Self::strided(values, values.len() / columns, columns, columns)
    }

    /// The matrix of `rows` rows of `columns` values, each starting `row_stride` values after the previous
    /// one.
    ///
    /// # Panics
    /// If `values` ends before the last row does.
    pub(super) fn strided(values: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        assert!(reaches(values.len(), rows, columns, row_stride), "{rows} rows lie within the slice");
        Self { values, rows, columns, row_stride, column_stride: 1, scale: 1.0, precision: Precision::F32 }
    }

    /// The transpose. No values are moved.
    pub(super) fn t(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// The matrix times `factor`, applied by the next matmul.
    pub(super) fn scaled(self, factor: f32) -> Self {
        Self { scale: self.scale * factor, ..self }
    }

    /// The matrix with a precision that matmuls round its values to.
    pub(super) fn at(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// Number of rows.
    pub(super) fn row_count(self) -> usize {
        self.rows
    }

    /// The first `rows` rows.
    pub(super) fn first_rows(self, rows: usize) -> Self {
        assert!(rows <= self.rows, "{rows} of {} rows", self.rows);
        Self { rows, ..self }
    }

    /// A range of rows.
    pub(super) fn rows(self, range: Range<usize>) -> Self {
        assert!(range.end <= self.rows, "rows {range:?} of {}", self.rows);
        let start = if range.is_empty() { 0 } else { range.start * self.row_stride };
        Self { values: &self.values[start..], rows: range.len(), ..self }
    }

    /// Returns its values rounded to its precision, line by line in storage order, or `None` in float32.
    fn rounded(self) -> Option<Buffer> {
        if self.precision == Precision::F32 {
            return None;
        }
        let (lines, len, stride) = self.lines();
        let mut rounded = Buffer::new(lines * len);
        if !rounded.is_empty() {
            let pairs =
                rounded.par_chunks_exact_mut(len).with_min_len(ROUNDED_TOGETHER.div_ceil(len)).enumerate();
            pairs.for_each(|(line, rounded)| {
                vector::round_to_bf16(&self.values[line * stride..][..len], rounded);
            });
        }
        Some(rounded)
    }

    /// The same matrix with the values from [`rounded`](Self::rounded), if any.
    fn of<'b>(self, rounded: Option<&'b Buffer>) -> Matrix<'b>
    where
        'a: 'b,
    {
        let Some(values) = rounded else { return self };
        let (_, len, _) = self.lines();
        let (row_stride, column_stride) = if self.column_stride == 1 { (len, 1) } else { (1, len) };
        Matrix { values, row_stride, column_stride, ..self }
    }

    /// Storage order as (number of lines, values per line, stride between lines).
    fn lines(self) -> (usize, usize, usize) {
        if self.column_stride == 1 {
            (self.rows, self.columns, self.row_stride)
        } else {
            (self.columns, self.rows, self.column_stride)
        }
    }

    /// One row. Not for a transpose.
    pub(super) fn row(self, row: usize) -> &'a [f32] {
        assert_eq!(self.column_stride, 1, "a row lies together");
        &self.values[row * self.row_stride..][..self.columns]
    }
}

/// A view of a matrix to write to. Rows are strided, and other views may own the values between them.
pub(super) struct MatrixMut<'a> {
    start: *mut f32,
    rows: usize,
    columns: usize,
    row_stride: usize,
    values: PhantomData<&'a mut [f32]>,
}

#[allow(unsafe_code, reason = "parts of a matrix are handed to threads")]
// SAFETY: a `MatrixMut` borrows its elements exclusively, as `&mut [f32]` does, which is `Send`.
unsafe impl Send for MatrixMut<'_> {}

impl<'a> MatrixMut<'a> {
    /// The matrix of the rows of `columns` values each in `values`.
    pub(super) fn new(values: &'a mut [f32], columns: usize) -> Self {
        let rows = values.len() / columns;
        Self { start: values.as_mut_ptr(), rows, columns, row_stride: columns, values: PhantomData }
    }

    /// Splits into blocks of `rows` rows each, from the top. The last one may have fewer.
    pub(super) fn split_rows(self, rows: usize) -> impl Iterator<Item = Self> {
        self.blocks_of_rows(rows).map(|(_, block)| block)
    }

    /// Splits into blocks of `columns` columns each, from the left. The last one may have fewer.
    pub(super) fn split_columns(self, columns: usize) -> impl Iterator<Item = Self> {
        self.blocks_of_columns(columns).map(|(_, block)| block)
    }

    fn blocks_of_rows(self, rows: usize) -> impl Iterator<Item = (Range<usize>, Self)> {
        blocks(self.rows, rows).map(move |rows| {
            // In bounds: the block's first row is one of the matrix.
            let start = self.start.wrapping_add(rows.start * self.row_stride);
            (rows.clone(), Self { start, rows: rows.len(), ..self })
        })
    }

    fn blocks_of_columns(self, columns: usize) -> impl Iterator<Item = (Range<usize>, Self)> {
        blocks(self.columns, columns).map(move |columns| {
            // In bounds: the block's first column is one of the matrix.
            let start = self.start.wrapping_add(columns.start);
            (columns.clone(), Self { start, columns: columns.len(), ..self })
        })
    }

    /// Borrows a range of rows.
    pub(super) fn rows(&mut self, range: Range<usize>) -> MatrixMut<'_> {
        assert!(range.end <= self.rows, "rows {range:?} of {}", self.rows);
        MatrixMut {
            start: self.start.wrapping_add(range.start * self.row_stride),
            rows: range.len(),
            columns: self.columns,
            row_stride: self.row_stride,
            values: PhantomData,
        }
    }
}

/// Treatment of the previous values of the output.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Accumulate {
    /// They are overwritten, and may be uninitialized.
    Overwrite,
    /// The result is added to them.
    Add,
}

/// Threads that compute a matmul.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum MatmulThreads {
    /// The calling thread.
    One,
    /// All threads, if the matmul is large enough.
    All,
}

/// Minimum number of values that one task rounds.
const ROUNDED_TOGETHER: usize = 1 << 15;

/// Number of multiply-adds below which a matmul runs on one thread.
const PARALLEL_WORK: usize = 1 << 20;

/// Computes `out = a · b`, or `out += a · b`.
///
/// Each output value is computed by one thread, which adds the products in order. Its bits don't depend on
/// the number of threads.
///
/// # Panics
/// If the shapes don't match.
pub(super) fn matmul(
    out: MatrixMut<'_>,
    a: Matrix<'_>,
    b: Matrix<'_>,
    accumulate: Accumulate,
    threads: MatmulThreads,
) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    assert_eq!(k, b.rows, "inner dimensions");
    assert_eq!((out.rows, out.columns), (m, n), "shape of the result");
    let [rounded_a, rounded_b] = [a, b].map(Matrix::rounded);
    let (a, b) = (a.of(rounded_a.as_ref()), b.of(rounded_b.as_ref()));
    let threads = match threads {
        MatmulThreads::All if m * k * n >= PARALLEL_WORK => rayon::current_num_threads(),
        _ => 1,
    };
    if threads == 1 {
        return block_matmul(out, a, b, accumulate);
    }
    let (row_blocks, column_blocks) = grid(m, n, threads);
    let blocks: Vec<_> = out
        .blocks_of_rows(m.div_ceil(row_blocks).next_multiple_of(BLOCK))
        .flat_map(|(rows, out)| {
            let blocks = out.blocks_of_columns(n.div_ceil(column_blocks).next_multiple_of(BLOCK));
            blocks.map(move |(columns, out)| (rows.clone(), columns, out))
        })
        .collect();
    blocks.into_par_iter().for_each(|(rows, columns, out)| {
        block_matmul(out, a.rows(rows), b.t().rows(columns).t(), accumulate);
    });
}

/// Blocks start at multiples of this number: the width of the widest vectors.
const BLOCK: usize = 16;

/// Returns the numbers of row blocks and of column blocks that an `m` by `n` output is split into, one block
/// per thread.
///
/// Each block of rows packs the whole right factor again, and each block of columns the whole left factor.
/// Packing the left factor is slower in the library, as measured over the shapes of small models, hence its
/// weight of 3.
fn grid(m: usize, n: usize, threads: usize) -> (usize, usize) {
    let divisors = (1..=threads).filter(|rows| threads.is_multiple_of(*rows));
    let cuts = divisors.map(|rows| (rows, threads / rows));
    cuts.min_by_key(|&(rows, columns)| rows * n + 3 * columns * m).expect("one divides every number")
}

/// Matmul on the calling thread.
fn block_matmul(mut out: MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, accumulate: Accumulate) {
    let (m, k, n) = (a.rows, a.columns, b.columns);
    if m * n == 0 || (k == 0 && accumulate == Accumulate::Add) {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    if m > 1 && k > 0 && has_avx512() {
        return avx512_matmul(&mut out, a, b, accumulate);
    }
    portable_matmul(&mut out, a, b, accumulate);
}

/// Instruction sets that the library assumes of an AVX-512 processor. All servers since 2017 have them.
#[cfg(target_arch = "x86_64")]
fn has_avx512() -> bool {
    use std::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512vl") && has!("avx512bw") && has!("avx512dq")
}

#[cfg(target_arch = "x86_64")]
fn avx512_matmul(out: &mut MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, accumulate: Accumulate) {
    use private_gemm_x86::{Accum, DType, DstKind, IType, InstrSet, gemm};

    let destination = match accumulate {
        Accumulate::Overwrite => Accum::Replace,
        Accumulate::Add => Accum::Add,
    };
    let scale = a.scale * b.scale;
    let (no_indices, no_diagonal) = (std::ptr::null(), std::ptr::null());
    #[allow(unsafe_code, reason = "the library takes raw pointers")]
    // SAFETY: a `Matrix` stays within its slice, which is asserted at its creation, and transposes and parts
    // reach no further. So does a `MatrixMut`, whose elements are borrowed exclusively, so they overlap
    // neither factor. The processor has AVX-512.
    unsafe {
        gemm(
            DType::F32,
            IType::U64,
            InstrSet::Avx512,
            a.rows,
            b.columns,
            a.columns,
            out.start.cast(),
            out.row_stride.cast_signed(),
            1,
            no_indices,
            no_indices,
            DstKind::Full,
            destination,
            a.values.as_ptr().cast(),
            a.row_stride.cast_signed(),
            a.column_stride.cast_signed(),
            false,
            no_diagonal,
            0,
            b.values.as_ptr().cast(),
            b.row_stride.cast_signed(),
            b.column_stride.cast_signed(),
            false,
            std::ptr::from_ref(&scale).cast(),
            1,
        );
    }
}

fn portable_matmul(out: &mut MatrixMut<'_>, a: Matrix<'_>, b: Matrix<'_>, accumulate: Accumulate) {
    #[allow(unsafe_code, reason = "the library takes raw pointers")]
    // SAFETY: as for the other library, but on any processor.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.start,
            1,
            out.row_stride.cast_signed(),
            accumulate == Accumulate::Add,
            a.values.as_ptr(),
            a.column_stride.cast_signed(),
            a.row_stride.cast_signed(),
            b.values.as_ptr(),
            b.column_stride.cast_signed(),
            b.row_stride.cast_signed(),
            1.0,
            a.scale * b.scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `0..len` in ranges of `size`, of which the last may be shorter.
fn blocks(len: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len).step_by(size).map(move |start| start..len.min(start + size))
}

/// Returns whether a slice of `len` values holds all rows of such a matrix.
fn reaches(len: usize, rows: usize, columns: usize, row_stride: usize) -> bool {
    rows == 0 || columns <= row_stride && (rows - 1) * row_stride + columns <= len
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

    fn set(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, threads: MatmulThreads) {
        matmul(MatrixMut::new(out, b.columns), a, b, Accumulate::Overwrite, threads);
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
                set(&mut out, a, b, MatmulThreads::All);
                assert!(out.iter().enumerate().all(|(i, &x)| x.to_bits() == exact(i).to_bits()));
                matmul(MatrixMut::new(&mut out, n), a.scaled(2.0), b, Accumulate::Add, MatmulThreads::One);
                assert!(out.iter().enumerate().all(|(i, &x)| x.to_bits() == (3.0 * exact(i)).to_bits()));
            }
        }
    }

    #[test]
    fn both_libraries_agree() {
        let (m, k, n) = (37, 700, 101);
        let (a, b) = (counting(m * k), counting(k * n));
        let mut results = [vec![0.0; m * n], vec![0.0; m * n]];
        let [ours, mut portable] = results.each_mut().map(|out| MatrixMut::new(out, n));
        block_matmul(ours, Matrix::new(&a, k).scaled(0.5), Matrix::new(&b, n), Accumulate::Overwrite);
        portable_matmul(
            &mut portable,
            Matrix::new(&a, k).scaled(0.5),
            Matrix::new(&b, n),
            Accumulate::Overwrite,
        );
        assert!(results[0].iter().zip(&results[1]).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    /// In any layout, the matmul of matrices to be rounded equals the matmul of rounded matrices.
    #[test]
    fn factors_are_rounded_wherever_they_lie() {
        let (m, k, n) = (5, 7, 3);
        let [a, b] = [m * k, k * n].map(|len| (0..len).map(|i| (i as f32 * 0.37).sin()).collect::<Vec<_>>());
        let [a16, b16] = [&a, &b].map(|x| {
            let mut rounded = vec![0.0; x.len()];
            vector::round_to_bf16(x, &mut rounded);
            rounded
        });
        let layouts = |a: &'static [f32], b: &'static [f32]| {
            [
                (Matrix::new(a, k), Matrix::new(b, n)),
                (Matrix::new(a, m).t(), Matrix::new(b, n)),
                (Matrix::new(a, k), Matrix::new(b, k).t()),
                (Matrix::strided(a, 2, 3, 17), Matrix::strided(b, 4, 3, 5).t().first_rows(3)),
            ]
        };
        let [a, b, a16, b16] = [a, b, a16, b16].map(|x| &*x.leak());
        for ((a, b), (a16, b16)) in layouts(a, b).into_iter().zip(layouts(a16, b16)) {
            let run = |a: Matrix<'_>, b: Matrix<'_>| {
                let mut out = vec![0.0; a.rows * b.columns];
                set(&mut out, a.scaled(0.3), b, MatmulThreads::All);
                out
            };
            assert_eq!(run(a.at(Precision::Bf16Mixed), b.at(Precision::Bf16Mixed)), run(a16, b16));
        }
    }

    #[test]
    fn empty_products_are_zero() {
        let mut out = [f32::NAN; 6];
        set(&mut out, Matrix::strided(&[], 2, 0, 0), Matrix::strided(&[], 0, 3, 3), MatmulThreads::One);
        assert!(out.iter().all(|x| x.to_bits() == 0));
        matmul(
            MatrixMut::new(&mut out, 3),
            Matrix::strided(&[], 2, 0, 0),
            Matrix::strided(&[], 0, 3, 3),
            Accumulate::Add,
            MatmulThreads::One,
        );
        assert!(out.iter().all(|x| x.to_bits() == 0));
    }

    #[test]
    fn rows_may_lie_apart() {
        // Two interleaved heads of three columns, in two sequences of four tokens: head 1 of each, squared.
        let x = counting(8 * 6);
        let mut out = vec![f32::NAN; 8 * 4 * 2];
        let sequences = MatrixMut::new(&mut out, 8).split_rows(4);
        for (sequence, out) in sequences.enumerate() {
            let head = Matrix::strided(&x[sequence * 24 + 3..], 4, 3, 6);
            let right = out.split_columns(4).nth(1).unwrap();
            matmul(right, head, head.t(), Accumulate::Overwrite, MatmulThreads::One);
        }
        for (index, value) in out.into_iter().enumerate() {
            let (token, column) = (index / 8, index % 8);
            let element = |token: usize, i: usize| x[token * 6 + 3 + i];
            let (row, other) = (token, token / 4 * 4 + column % 4);
            let dot = (0..3).map(|i| element(row, i) * element(other, i)).sum::<f32>();
            assert!(if column < 4 { value.is_nan() } else { value.to_bits() == dot.to_bits() });
        }
    }

    #[test]
    #[should_panic(expected = "inner dimensions")]
    fn shapes_must_fit() {
        set(&mut [0.0], Matrix::new(&[1.0, 2.0], 2), Matrix::new(&[1.0], 1), MatmulThreads::One);
    }

    #[test]
    #[should_panic(expected = "lie within the slice")]
    fn no_row_lies_beyond_the_slice() {
        let _ = Matrix::strided(&[0.0; 11], 3, 4, 4);
    }

    #[test]
    fn results_are_cut_where_it_costs_least() {
        assert_eq!(grid(2048, 128, 2), (2, 1));
        assert_eq!(grid(256, 32_000, 2), (1, 2));
        assert_eq!(grid(2048, 1376, 16), (8, 2));
        assert_eq!(grid(128, 4096, 16), (1, 16));
        assert_eq!(grid(7, 7, 7), (7, 1));
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_bits() {
        for (m, k, n) in [(130, 301, 97), (33, 1100, 530), (700, 40, 45)] {
            let (a, b): (Vec<f32>, Vec<f32>) = (
                (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect(),
                (0..k * n).map(|i| (i as f32 * 0.73).cos()).collect(),
            );
            let layouts = [
                (Matrix::new(&a, k), Matrix::new(&b, n)),
                (Matrix::new(&a, m).t(), Matrix::new(&b, n)),
                (Matrix::new(&a, k), Matrix::new(&b, k).t()),
            ];
            for (a, b) in layouts {
                let run = |threads| {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut out = vec![0.0; m * n];
                    pool.install(|| set(&mut out, a, b, MatmulThreads::All));
                    out.into_iter().map(f32::to_bits).collect::<Vec<_>>()
                };
                let one = run(1);
                assert!([2, 3, 5, 8].into_iter().all(|threads| run(threads) == one));
            }
        }
    }
}
