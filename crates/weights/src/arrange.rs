//! Reordering of values: transposition with interleaved or split rows of rotary heads, and gathering by
//! strides.

use rayon::prelude::*;

/// Rows of a tile: one cache line of float16 in each row of the transpose.
const TILE_ROWS: usize = 32;
/// Columns of a tile. A task transposes a column of tiles.
const TILE_COLUMNS: usize = 64;
/// Elements of a tile. Two tiles fit into the L1 cache.
const TILE: usize = TILE_ROWS * TILE_COLUMNS;

/// The transpose of a matrix with its rows and columns reordered: `out[k][t] = source[rows[t]][columns[k]]`.
/// An absent order is the order of the source. The source may be given in pieces.
#[derive(Debug)]
pub(crate) struct Transposition {
    /// Number of rows of the source.
    pub(crate) height: usize,
    /// Number of columns of the source.
    pub(crate) width: usize,
    /// Bytes of an element: 1, 2, 4 or 8.
    pub(crate) size: usize,
    pub(crate) rows: Option<Vec<usize>>,
    pub(crate) columns: Option<Vec<usize>>,
    /// `rows` moves rows only within groups of this size. A piece of the source must consist of complete
    /// groups.
    pub(crate) group: usize,
}

impl Transposition {
    /// Returns the number of rows of the source that fit into `bytes`, but at least one group.
    pub(crate) fn rows_in(&self, bytes: usize) -> usize {
        let group = self.group * self.width * self.size;
        (bytes / group.max(1)).max(1) * self.group
    }

    /// Writes the rows of the source from `first` on, given as `piece`, to their positions in `out`, which is
    /// the complete transpose.
    pub(crate) fn write_rows(&self, first: usize, piece: &[u8], out: &mut [u8]) {
        debug_assert_eq!(out.len(), self.height * self.width * self.size);
        match self.size {
            1 => self.write_elements::<1>(first, piece, out),
            2 => self.write_elements::<2>(first, piece, out),
            4 => self.write_elements::<4>(first, piece, out),
            _ => self.write_elements::<8>(first, piece, out),
        }
    }

    fn write_elements<const SIZE: usize>(&self, first: usize, piece: &[u8], out: &mut [u8]) {
        let (piece, _) = piece.as_chunks::<SIZE>();
        let (out, _) = out.as_chunks_mut::<SIZE>();
        if piece.is_empty() {
            return;
        }
        let height = piece.len() / self.width;
        let blocks = out.par_chunks_mut(TILE_COLUMNS * self.height).enumerate();
        blocks.for_each(|(block, out)| {
            let start = block * TILE_COLUMNS;
            let mut tiles = [[[0; SIZE]; TILE]; 2];
            for top in (0..height).step_by(TILE_ROWS) {
                let rows = TILE_ROWS.min(height - top);
                let [tile, other] = &mut tiles;
                for (t, line) in tile.chunks_exact_mut(TILE_COLUMNS).take(rows).enumerate() {
                    let row = self.rows.as_ref().map_or(top + t, |rows| rows[first + top + t] - first);
                    self.fill(line, &piece[row * self.width..][..self.width], start);
                }
                let transposed = transpose_tile(tile, other);
                for (line, values) in
                    out.chunks_exact_mut(self.height).zip(transposed.chunks_exact(TILE_ROWS))
                {
                    line[first + top..][..rows].copy_from_slice(&values[..rows]);
                }
            }
        });
    }

    /// Copies the elements of a row that belong to the rows of the transpose from `start` on.
    fn fill<T: Copy>(&self, line: &mut [T], row: &[T], start: usize) {
        let count = line.len().min(self.width - start);
        match &self.columns {
            None => line[..count].copy_from_slice(&row[start..][..count]),
            Some(columns) => {
                for (value, &column) in line.iter_mut().zip(&columns[start..]) {
                    *value = row[column];
                }
            }
        }
    }
}

/// Transposes a tile, and returns which of the two buffers contains the result.
///
/// Each pass interleaves the two halves of the tile, which rotates the bits of the index of each element by
/// one. After as many passes as the row has bits, rows have become columns. Vector instructions are efficient
/// at interleaving.
fn transpose_tile<'a, T: Copy>(mut tile: &'a mut [T; TILE], mut other: &'a mut [T; TILE]) -> &'a [T; TILE] {
    for _ in 0..TILE_ROWS.ilog2() {
        let (low, high) = tile.split_at(TILE / 2);
        for ((pair, &low), &high) in other.as_chunks_mut().0.iter_mut().zip(low).zip(high) {
            *pair = [low, high];
        }
        (tile, other) = (other, tile);
    }
    tile
}

/// Copies the values of a strided view in row-major order. The view starts at the first element of `source`.
/// Strides are in elements.
pub(crate) fn gather(source: &[u8], shape: &[usize], strides: &[usize], size: usize, out: &mut [u8]) {
    let mut index = vec![0; shape.len()];
    let mut offset = 0;
    for value in out.chunks_exact_mut(size) {
        value.copy_from_slice(&source[offset * size..][..size]);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}

/// Returns the number of elements from the first to the last of a view, or `None` if it overflows.
pub(crate) fn extent(shape: &[usize], strides: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .zip(strides)
        .try_fold(1_usize, |extent, (&length, &stride)| extent.checked_add((length - 1).checked_mul(stride)?))
}

/// Returns whether the elements of a view are in row-major order. Strides of axes of length one are ignored.
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

/// Returns, for each row of Hugging Face's layout, the row of Meta's and EasyLM's layout.
///
/// Two values that are rotated together are adjacent in the latter, and half a head apart in the former.
pub(crate) fn interleaved(rows: usize, head_size: usize) -> Vec<usize> {
    let half = head_size / 2;
    (0..rows).map(|row| row / head_size * head_size + row % half * 2 + row % head_size / half).collect()
}

/// Returns whether a number of rows consists of complete heads of this size, which must be even.
pub(crate) fn are_heads(rows: usize, head_size: usize) -> bool {
    head_size > 0 && head_size.is_multiple_of(2) && rows.is_multiple_of(head_size)
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
    fn a_transpose_is_one_at_every_size_in_pieces() {
        for (height, width, size, group) in [
            (1, 1, 2, 1),
            (3, 5, 4, 1),
            (130, 33, 2, 13),
            (64, 257, 4, 64),
            (96, 128, 8, 32),
            (150, 65, 1, 10),
            (0, 4, 2, 1),
            (9, 0, 4, 1),
        ] {
            let source: Vec<u8> = (0..height * width * size).map(|at| (at * 31 % 251) as u8).collect();
            let rows: Vec<usize> =
                (0..height).map(|row| row / group * group + group - 1 - row % group).collect();
            let columns: Vec<usize> = (0..width).map(|column| (column + 1) % width).collect();
            for (rows, columns, bytes) in [
                (None, None, usize::MAX),
                (Some(rows.clone()), None, 0),
                (None, Some(columns.clone()), 40 * width * size),
                (Some(rows), Some(columns), usize::MAX),
            ] {
                let transposition = Transposition { height, width, size, rows, columns, group };
                let mut out = vec![0; source.len()];
                let step = transposition.rows_in(bytes);
                for first in (0..height).step_by(step) {
                    let end = first.saturating_add(step).min(height);
                    transposition.write_rows(
                        first,
                        &source[first * width * size..end * width * size],
                        &mut out,
                    );
                }
                let order = |order: &Option<Vec<usize>>, at| order.as_ref().map_or(at, |order| order[at]);
                for (k, t) in (0..width).flat_map(|k| (0..height).map(move |t| (k, t))) {
                    let (row, column) = (order(&transposition.rows, t), order(&transposition.columns, k));
                    let (to, from) = ((k * height + t) * size, (row * width + column) * size);
                    assert_eq!(out[to..to + size], source[from..from + size], "{transposition:?}");
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
        let gathered = |shape: &[usize], strides: &[usize], size| {
            let source: Vec<u8> = (0..24).collect();
            let mut out = vec![0; shape.iter().product::<usize>() * size];
            gather(&source, shape, strides, size, &mut out);
            out
        };
        assert_eq!(gathered(&[3, 2], &[1, 4], 1), [0, 4, 1, 5, 2, 6]);
        assert_eq!(gathered(&[2, 2], &[6, 2], 2), [0, 1, 4, 5, 12, 13, 16, 17]);
        assert_eq!(gathered(&[], &[], 4), [0, 1, 2, 3]);
        assert_eq!(extent(&[3, 2], &[1, 4]), Some(7));
        assert_eq!(extent(&[0, usize::MAX], &[1, usize::MAX]), Some(0));
        assert_eq!(extent(&[3, 3], &[usize::MAX, 1]), None);
        assert!(is_row_major(&[3, 1, 2], &[2, 77, 1]) && !is_row_major(&[3, 2], &[1, 3]));
    }
}
