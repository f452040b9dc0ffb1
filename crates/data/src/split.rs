//! The split of a source into training and validation.

use std::ops::Range;

use fineline_random::Permutation;

use crate::shards::SourceTokens;

/// Smallest number of documents that are held out. If there would be fewer, the last tokens of the source are
/// held out instead.
const FEWEST_DOCUMENTS: f64 = 10.0;

/// Seed of the split. It is the same for every seed of a run, so that perplexities of runs can be compared.
const SEED: u64 = 0;

/// Part of a source: ranges of its tokens, addressed as one contiguous sequence.
#[derive(Clone, Debug, Default)]
pub(crate) struct TokenRanges {
    ranges: Vec<Range<u64>>,
    /// Tokens before each range.
    offsets: Vec<u64>,
    len: u64,
}

impl TokenRanges {
    fn push(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let len = range.end - range.start;
        match self.ranges.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => {
                self.offsets.push(self.len);
                self.ranges.push(range);
            }
        }
        self.len += len;
    }

    /// Returns the number of tokens.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn ranges(&self) -> &[Range<u64>] {
        &self.ranges
    }

    /// Returns the tokens of the source from index `at` of this part to the end of their range.
    pub(crate) fn from(&self, at: u64) -> Range<u64> {
        let range = self.offsets.partition_point(|&offset| offset <= at) - 1;
        self.ranges[range].start + (at - self.offsets[range])..self.ranges[range].end
    }

    /// Returns the end of the range that contains a token of the source.
    pub(crate) fn end_of(&self, token: u64) -> u64 {
        self.ranges[self.ranges.partition_point(|range| range.start <= token) - 1].end
    }
}

/// Split of a source into two parts that share no token.
#[derive(Debug)]
pub(crate) struct TrainValidationSplit {
    pub(crate) training: TokenRanges,
    pub(crate) validation: TokenRanges,
}

/// Holds out a fraction of a source from training: pseudo-randomly drawn documents or, if those would be too
/// few, the last tokens.
pub(crate) fn split(tokens: &SourceTokens, share: f64) -> TrainValidationSplit {
    let mut validation = TokenRanges::default();
    let documents = share * tokens.documents() as f64;
    if documents >= FEWEST_DOCUMENTS {
        let order = Permutation::new(SEED, "data/validation", 0, tokens.documents());
        let mut drawn: Vec<u64> = (0..documents.round() as u64).map(|i| order.get(i)).collect();
        drawn.sort_unstable();
        for number in drawn {
            validation.push(tokens.document(number).tokens);
        }
    } else if share > 0.0 {
        // A target needs at least two tokens.
        let held_out = ((share * tokens.len() as f64).ceil() as u64).max(2).min(tokens.len());
        validation.push(tokens.len() - held_out..tokens.len());
    }
    TrainValidationSplit { training: complement(&validation, tokens.len()), validation }
}

fn complement(spans: &TokenRanges, len: u64) -> TokenRanges {
    let mut rest = TokenRanges::default();
    let mut start = 0;
    for range in &spans.ranges {
        rest.push(start..range.start);
        start = range.end;
    }
    rest.push(start..len);
    rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shards::tokens;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_token_is_in_one_part(lengths in prop::collection::vec(0_u64..6, 1..60), share in 0.0..0.9) {
            let documents: Vec<Vec<u32>> = lengths.iter().map(|&len| vec![7; len as usize]).collect();
            let (_dir, tokens) = tokens(&[documents]);
            let split = split(&tokens, share);
            prop_assert_eq!(split.training.len() + split.validation.len(), tokens.len());
            let mut owners = vec![0; tokens.len() as usize];
            for part in [&split.training, &split.validation] {
                for at in 0..part.len() {
                    let rest = part.from(at);
                    owners[rest.start as usize] += 1;
                    prop_assert_eq!(part.end_of(rest.start), rest.end);
                }
            }
            prop_assert!(owners.iter().all(|&count| count == 1));
        }
    }

    #[test]
    fn many_documents_are_split_whole_and_in_exact_number() {
        let (_dir, tokens) = tokens(&[vec![vec![1, 2, 3]; 1000]]);
        let split = split(&tokens, 0.05);
        assert_eq!(split.validation.len(), 150);
        assert!(split.validation.ranges().iter().all(|range| range.start % 3 == 0 && range.end % 3 == 0));
        assert!(split.validation.ranges().len() > 30, "they are spread");
    }

    #[test]
    fn one_document_gives_its_last_tokens() {
        let (_dir, tokens) = tokens(&[vec![vec![9; 1000]]]);
        assert_eq!(split(&tokens, 0.1).validation.ranges(), std::slice::from_ref(&(900..1000)));
        assert_eq!(split(&tokens, 1e-9).validation.ranges(), std::slice::from_ref(&(998..1000)));
        assert!(split(&tokens, 0.0).validation.ranges().is_empty());
    }
}
