//! The tokens of a source.

use std::ops::Range;
use std::path::Path;

use crate::error::Result;
use crate::shards::shard::Shard;

/// The tokens of a source: its shards as one sequence, addressed by token number and document number.
#[derive(Debug)]
pub(crate) struct SourceTokens {
    shards: Vec<Shard>,
    /// First token of each shard, and the number of all tokens at the end.
    token_starts: Vec<u64>,
    /// First document of each shard, and the number of all documents at the end.
    document_starts: Vec<u64>,
}

/// Number and tokens of one document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DocumentSpan {
    pub(crate) number: u64,
    pub(crate) tokens: Range<u64>,
}

impl SourceTokens {
    pub(crate) fn open<'a>(prefixes: impl Iterator<Item = &'a Path>) -> Result<Self> {
        let shards: Vec<Shard> = prefixes.map(Shard::open).collect::<Result<_>>()?;
        let (mut token_starts, mut document_starts) = (vec![0], vec![0]);
        for (i, shard) in shards.iter().enumerate() {
            token_starts.push(token_starts[i] + shard.tokens());
            document_starts.push(document_starts[i] + shard.documents());
        }
        Ok(Self { shards, token_starts, document_starts })
    }

    pub(crate) fn len(&self) -> u64 {
        self.token_starts[self.shards.len()]
    }

    pub(crate) fn documents(&self) -> u64 {
        self.document_starts[self.shards.len()]
    }

    /// Appends the tokens of a range to `out`.
    pub(crate) fn copy(&self, range: Range<u64>, out: &mut Vec<u32>) {
        let mut start = range.start;
        while start < range.end {
            let shard = last_at_or_before(&self.token_starts, start);
            let end = range.end.min(self.token_starts[shard + 1]);
            let first = self.token_starts[shard];
            self.shards[shard].copy(start - first..end - first, out);
            start = end;
        }
    }

    pub(crate) fn document(&self, number: u64) -> DocumentSpan {
        let shard = last_at_or_before(&self.document_starts, number);
        self.document_in_shard(shard, number - self.document_starts[shard])
    }

    /// Returns the document that contains token `at`.
    pub(crate) fn document_at(&self, at: u64) -> DocumentSpan {
        let shard = last_at_or_before(&self.token_starts, at);
        let at = at - self.token_starts[shard];
        let (mut low, mut high) = (0, self.shards[shard].documents());
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.shards[shard].document_start(middle) <= at { low = middle } else { high = middle }
        }
        self.document_in_shard(shard, low)
    }

    fn document_in_shard(&self, shard: usize, document: u64) -> DocumentSpan {
        let start = |document| self.token_starts[shard] + self.shards[shard].document_start(document);
        let number = self.document_starts[shard] + document;
        DocumentSpan { number, tokens: start(document)..start(document + 1) }
    }
}

/// Returns the index of the last entry that is not above `value`, which skips empty shards.
fn last_at_or_before(starts: &[u64], value: u64) -> usize {
    starts.partition_point(|&start| start <= value) - 1
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::path::PathBuf;

    use crate::shards::writer::ShardWriter;

    /// Writes shards of the given documents, one inner list per shard, and opens them. The directory must
    /// outlive the tokens.
    pub(crate) fn tokens(shards: &[Vec<Vec<u32>>]) -> (tempfile::TempDir, SourceTokens) {
        let dir = tempfile::tempdir().unwrap();
        let prefixes: Vec<PathBuf> =
            (0..shards.len()).map(|i| dir.path().join(format!("shard-{i}"))).collect();
        for (prefix, documents) in prefixes.iter().zip(shards) {
            let mut writer = ShardWriter::create(prefix, 1000).unwrap();
            for document in documents {
                writer.push(document).unwrap();
            }
            writer.finish().unwrap();
        }
        let tokens = SourceTokens::open(prefixes.iter().map(PathBuf::as_path)).unwrap();
        (dir, tokens)
    }

    #[test]
    fn shards_lie_end_to_end_and_empty_documents_hold_no_token() {
        let shards = [vec![vec![1, 2], vec![], vec![3]], vec![vec![], vec![4, 5, 6], vec![]]];
        let (_dir, tokens) = tokens(&shards);
        assert_eq!((tokens.len(), tokens.documents()), (6, 6));
        let mut out = Vec::new();
        tokens.copy(1..5, &mut out);
        assert_eq!(out, [2, 3, 4, 5]);
        let holders: Vec<u64> = (0..6).map(|at| tokens.document_at(at).number).collect();
        assert_eq!(holders, [0, 0, 2, 4, 4, 4]);
        assert_eq!(tokens.document(4), DocumentSpan { number: 4, tokens: 3..6 });
        assert_eq!(tokens.document(5).tokens, 6..6);
    }
}
