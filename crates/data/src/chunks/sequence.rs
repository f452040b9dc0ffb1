//! The order of the rows of chunks.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use fineline_random::{Permutation, numpy_permutation};

use crate::config::ChunkShuffle;

/// A chunk of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Number of the chunk, and of its checkpoint.
    pub number: u64,
    /// Row indices of the run that the chunk covers: full batches.
    pub rows: Range<u64>,
}

/// Source of the rows of a chunk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkSource {
    pub(crate) number: u64,
    /// Index of the source that is read.
    pub(crate) source: usize,
    /// Number of rows of the source, including those that are skipped.
    pub(crate) rows: u64,
}

/// The chunks of a run, one after another, each in an order of its own.
#[derive(Debug)]
pub(crate) struct ChunkSequence {
    sources: Vec<ChunkSource>,
    chunks: Vec<Chunk>,
    shuffle: ChunkShuffle,
    seed: u64,
    /// NumPy's order of the chunk that was used last, because it can only be computed as a whole.
    latest: Mutex<Option<(u64, Arc<[u32]>)>>,
}

impl ChunkSequence {
    /// Creates a sequence in which the rows of each chunk after its last full batch of `batch` rows are
    /// skipped.
    pub(crate) fn new(sources: Vec<ChunkSource>, batch: u64, shuffle: ChunkShuffle, seed: u64) -> Self {
        let mut end = 0;
        let chunk = |sources: &ChunkSource| {
            let start = end;
            end += sources.rows - sources.rows % batch;
            Chunk { number: sources.number, rows: start..end }
        };
        let chunks = sources.iter().map(chunk).collect();
        Self { sources, chunks, shuffle, seed, latest: Mutex::default() }
    }

    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Returns the number of rows to train on.
    pub(crate) fn len(&self) -> u64 {
        self.chunks.last().map_or(0, |last| last.rows.end)
    }

    /// Returns the number of rows of a source among the first `rows` rows.
    pub(crate) fn rows_of_source(&self, source: usize, rows: u64) -> u64 {
        let of_chunk = self.sources.iter().zip(&self.chunks).filter(|(sources, _)| sources.source == source);
        of_chunk.map(|(_, chunk)| rows.clamp(chunk.rows.start, chunk.rows.end) - chunk.rows.start).sum()
    }

    /// Returns the source of a row and the number of the row within the source. After the last chunk, the
    /// first one follows again.
    pub(crate) fn locate(&self, row: u64) -> (usize, u64) {
        let row = row % self.len();
        let at = self.chunks.partition_point(|chunk| chunk.rows.end <= row);
        let ChunkSource { number, source, rows } = self.sources[at];
        let index = row - self.chunks[at].rows.start;
        let shuffled = match self.shuffle {
            ChunkShuffle::Keyed => Permutation::new(self.seed, "data/chunk", number, rows).get(index),
            ChunkShuffle::Numpy => u64::from(self.numpy_order(number, rows)[index as usize]),
        };
        (source, shuffled)
    }

    fn numpy_order(&self, number: u64, rows: u64) -> Arc<[u32]> {
        // The cached order is complete even if another thread panicked.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        match &*latest {
            Some((known, order)) if *known == number => Arc::clone(order),
            _ => {
                let order: Arc<[u32]> = numpy_permutation((self.seed + number) as u32, rows as u32).into();
                *latest = Some((number, Arc::clone(&order)));
                order
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn sequence(shuffle: ChunkShuffle) -> ChunkSequence {
        let sources = [(0, 0, 11), (2, 1, 8), (3, 0, 11)].map(|(number, source, rows)| ChunkSource {
            number,
            source,
            rows,
        });
        ChunkSequence::new(sources.to_vec(), 4, shuffle, 11_111)
    }

    #[test]
    fn the_rest_of_a_chunk_is_left_out() {
        for shuffle in [ChunkShuffle::Keyed, ChunkShuffle::Numpy] {
            let sequence = sequence(shuffle);
            let spans: Vec<_> =
                sequence.chunks().iter().map(|chunk| (chunk.number, chunk.rows.clone())).collect();
            assert_eq!(spans, [(0, 0..8), (2, 8..16), (3, 16..24)]);
            let rows = |range: Range<u64>| range.map(|row| sequence.locate(row)).collect::<Vec<_>>();
            for (range, source) in [(0..8, 0), (8..16, 1), (16..24, 0)] {
                let rows = rows(range);
                assert!(rows.iter().all(|&(from, _)| from == source));
                assert_eq!(rows.iter().collect::<BTreeSet<_>>().len(), 8, "no row twice");
            }
            // The same rows in another chunk have a different order.
            assert_ne!(rows(0..8), rows(16..24));
            assert_eq!(rows(24..32), rows(0..8));
            assert_eq!(
                (
                    sequence.rows_of_source(0, 20),
                    sequence.rows_of_source(1, 20),
                    sequence.rows_of_source(1, 9)
                ),
                (12, 8, 1)
            );
        }
    }

    /// The first values of `numpy.random.seed(11113); numpy.random.permutation(8)`.
    #[test]
    fn each_chunk_has_a_seed_of_its_own() {
        let sequence = sequence(ChunkShuffle::Numpy);
        let expected = numpy_permutation(11_113, 8);
        assert!((8..16).all(|row| sequence.locate(row).1 == u64::from(expected[row as usize - 8])));
    }
}
