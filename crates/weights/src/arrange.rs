//! Values put into another order: transposed, with the rows of rotary heads interleaved or in halves, or gathered by strides.

use rayon::prelude::*;

/// Rows of the result that one task makes; with [`TILE_COLUMNS`], what stays in the nearest cache.
const BLOCK_ROWS: usize = 128;
/// Columns of the result that are made at once: a cache line of float16.
const TILE_COLUMNS: usize = 32;

/// The transpose of a matrix with its rows and columns taken in the given order: `out[k][t] = source[rows[t]][columns[k]]`.
/// `rows` and `columns` are permutations; elements have `size` bytes: 1, 2, 4 or 8.
pub(crate) fn transpose(source: &[u8], rows: &[usize], columns: &[usize], size: usize) -> Vec<u8> {
    debug_assert_eq!(source.len(), rows.len() * columns.len() * size);
    let mut out = vec![0; source.len()];
    match size {
        1 => transpose_elements::<1>(source, rows, columns, &mut out),
        2 => transpose_elements::<2>(source, rows, columns, &mut out),
        4 => transpose_elements::<4>(source, rows, columns, &mut out),
        _ => transpose_elements::<8>(source, rows, columns, &mut out),
    }
    out
}

/// Elements are gathered a tile at a time into a small copy, since rows of a power of two bytes fall on each other in the cache.
fn transpose_elements<const SIZE: usize>(source: &[u8], rows: &[usize], columns: &[usize], out: &mut [u8]) {
    let (source, _) = source.as_chunks::<SIZE>();
    let (out, _) = out.as_chunks_mut::<SIZE>();
    let (width, height) = (columns.len(), rows.len());
    if width == 0 || height == 0 {
        return;
    }
    let blocks = out.par_chunks_mut(BLOCK_ROWS * height).zip(columns.par_chunks(BLOCK_ROWS));
    blocks.for_each(|(out, columns)| {
        let mut tile = [[0; SIZE]; BLOCK_ROWS * TILE_COLUMNS];
        for (at, rows) in rows.chunks(TILE_COLUMNS).enumerate() {
            for (&row, line) in rows.iter().zip(tile.chunks_exact_mut(BLOCK_ROWS)) {
                let from = &source[row * width..][..width];
                for (value, &column) in line.iter_mut().zip(columns) {
                    *value = from[column];
                }
            }
            for (k, line) in out.chunks_exact_mut(height).enumerate() {
                for (t, value) in line[at * TILE_COLUMNS..][..rows.len()].iter_mut().enumerate() {
                    *value = tile[t * BLOCK_ROWS + k];
                }
            }
        }
    });
}

/// The values of a strided view in row-major order. The view begins at the first element of `source`; strides are in elements.
pub(crate) fn gather(source: &[u8], shape: &[usize], strides: &[usize], size: usize) -> Vec<u8> {
    let count: usize = shape.iter().product();
    let mut out = Vec::with_capacity(count * size);
    let mut index = vec![0; shape.len()];
    let mut place = 0;
    for _ in 0..count {
        out.extend_from_slice(&source[place * size..][..size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            place += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            place -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
    out
}

/// How many elements a view reaches over, from its first to behind its last; none if that is beyond counting.
pub(crate) fn extent(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .zip(strides)
        .try_fold(1_usize, |extent, (&length, &stride)| extent.checked_add((length - 1).checked_mul(stride)?))
}

/// Whether a view is its elements in row-major order. Strides of axes with one element mean nothing.
pub(crate) fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    for (&length, &stride) in shape.iter().zip(strides).rev() {
        if length != 1 && stride != expected {
            return false;
        }
        expected = usize::saturating_mul(expected, length);
    }
    true
}

/// Row by row of Hugging Face's layout, the place of the row in Meta's and EasyLM's: there the two values that are rotated together
/// are neighbours, here they are half a head apart.
pub(crate) fn interleaved(rows: usize, head_size: usize) -> Vec<usize> {
    let half = head_size / 2;
    (0..rows).map(|row| row / head_size * head_size + row % half * 2 + row % head_size / half).collect()
}

/// The inverse of [`interleaved`].
pub(crate) fn in_halves(rows: usize, head_size: usize) -> Vec<usize> {
    let half = head_size / 2;
    (0..rows).map(|row| row / head_size * head_size + row % 2 * half + row % head_size / 2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transpose_is_one_at_every_size() {
        for (height, width, size) in
            [(1, 1, 2), (3, 5, 4), (130, 33, 2), (64, 257, 4), (31, 128, 8), (0, 4, 2), (9, 4, 1)]
        {
            let source: Vec<u8> = (0..height * width * size).map(|at| (at * 31 % 251) as u8).collect();
            let rows: Vec<usize> = (0..height).rev().collect();
            let columns: Vec<usize> = (0..width).map(|column| (column + 1) % width).collect();
            let out = transpose(&source, &rows, &columns, size);
            for (k, &column) in columns.iter().enumerate() {
                for (t, &row) in rows.iter().enumerate() {
                    let (to, from) = ((k * height + t) * size, (row * width + column) * size);
                    assert_eq!(out[to..to + size], source[from..from + size], "{height} {width} {size}");
                }
            }
        }
    }

    /// `view(heads, size / 2, 2).transpose(1, 2)` of 0, 1, 2, ... in `numpy`.
    #[test]
    fn rotary_rows_go_where_numpy_puts_them() {
        assert_eq!(interleaved(12, 6), [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
        assert_eq!(interleaved(4, 4), [0, 2, 1, 3]);
        for head_size in [2, 6, 10, 128] {
            let (there, back) = (interleaved(3 * head_size, head_size), in_halves(3 * head_size, head_size));
            assert!((0..3 * head_size).all(|row| back[there[row]] == row));
        }
    }

    #[test]
    fn views_are_gathered_in_row_major_order() {
        let source: Vec<u8> = (0..24).collect();
        assert_eq!(gather(&source, &[3, 2], &[1, 4], 1), [0, 4, 1, 5, 2, 6]);
        assert_eq!(gather(&source, &[2, 2], &[6, 2], 2), [0, 1, 4, 5, 12, 13, 16, 17]);
        assert_eq!(gather(&source, &[], &[], 4), [0, 1, 2, 3]);
        assert_eq!(extent(&[3, 2], &[1, 4]), Some(7));
        assert_eq!(extent(&[0, usize::MAX], &[1, usize::MAX]), Some(0));
        assert_eq!(extent(&[3, 3], &[usize::MAX, 1]), None);
        assert!(is_row_major(&[3, 1, 2], &[2, 77, 1]) && !is_row_major(&[3, 2], &[1, 3]));
    }
}
