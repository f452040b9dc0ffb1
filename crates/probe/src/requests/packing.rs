//! Packs requests into rows, and rows into batches, so that a forward pass has little padding.
//!
//! The layout depends only on the lengths of the requests: the same items give the same batches, and
//! therefore the same bits.

use fineline_kernels::KeySpan;

use crate::requests::request::{Continuation, Request};
use crate::requests::shared_prefix::{PrefixGroup, group};

/// Length up to which a row is filled with requests, in tokens. A longer request gets its own row. The cost
/// of attention is quadratic in this length.
const ROW_TOKENS: usize = 256;

/// Tokens of a batch, including padding. A longer row is a batch of its own.
const BATCH_TOKENS: usize = 4096;

/// Rows of one batch. Each row is a list of indices of requests.
pub(crate) type BatchRows = Vec<Vec<usize>>;

/// Batches of requests that share a prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackedGroup {
    /// The shared prefix of the contexts. May be empty.
    pub(crate) shared: Vec<u32>,
    pub(crate) batches: Vec<BatchRows>,
}

/// Packs all requests of a round.
pub(crate) fn pack(requests: &[&Request]) -> Vec<PackedGroup> {
    let packed = |PrefixGroup { shared, members }: PrefixGroup| PackedGroup {
        shared: members.first().map_or_else(Vec::new, |&first| requests[first].context[..shared].to_vec()),
        batches: rows_and_batches(&members, |index| requests[index].input_len() - shared),
    };
    group(requests).into_iter().map(packed).filter(|group| !group.batches.is_empty()).collect()
}

/// Distributes `members` over rows (the longest first, each into the first row with room for it), and rows,
/// the longest first, over batches.
fn rows_and_batches(members: &[usize], len: impl Fn(usize) -> usize) -> Vec<BatchRows> {
    let mut order = members.to_vec();
    order.sort_by_key(|&index| (std::cmp::Reverse(len(index)), index));
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    // Rows before this index have no room for the shortest request.
    let shortest = order.last().map_or(0, |&index| len(index));
    let mut first_open = 0;
    for index in order {
        let len = len(index);
        while rows.get(first_open).is_some_and(|(used, _)| used + shortest > ROW_TOKENS) {
            first_open += 1;
        }
        match rows[first_open..].iter_mut().find(|(used, _)| used + len <= ROW_TOKENS) {
            Some((used, row)) => {
                *used += len;
                row.push(index);
            }
            None => rows.push((len, vec![index])),
        }
    }
    rows.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    batches(rows)
}

/// Splits sorted `(length, row)` pairs into batches within the token budget.
fn batches(rows: Vec<(usize, Vec<usize>)>) -> Vec<BatchRows> {
    let mut batches: Vec<BatchRows> = Vec::new();
    let mut time = 0;
    for (used, row) in rows {
        match batches.last_mut() {
            Some(batch) if (batch.len() + 1) * time <= BATCH_TOKENS => batch.push(row),
            _ => {
                time = used;
                batches.push(vec![row]);
            }
        }
    }
    batches
}

/// A batch as input of the model: `[rows, time]`, row-major.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PackedBatch {
    pub(crate) time: usize,
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) spans: Vec<KeySpan>,
    pub(crate) targets: Vec<ScoringTarget>,
}

/// A token to score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ScoringTarget {
    /// Position in the batch whose hidden state predicts it: `row * time + column`.
    pub(crate) position: u32,
    pub(crate) token: u32,
    /// The request, and the index of the continuation within it.
    pub(crate) request: usize,
    pub(crate) continuation: usize,
}

impl PackedBatch {
    /// Builds the input for `rows` without the `shared` tokens at the beginning of each context. Targets are
    /// in the order of rows, requests, continuations, tokens.
    pub(crate) fn build(rows: &BatchRows, requests: &[&Request], shared: usize) -> Self {
        let len = |&index: &usize| requests[index].input_len() - shared;
        let time = rows.iter().map(|row| row.iter().map(len).sum()).max().unwrap_or(0);
        let mut batch = Self { time, ..Self::default() };
        for row in rows {
            let row_start = batch.tokens.len();
            for &index in row {
                batch.add_request(row_start, index, requests[index], shared);
            }
            batch.pad_to(row_start + time);
        }
        batch
    }

    /// Appends a request to the row that begins at `row_start`: its context, then each continuation, which
    /// attends to the context and itself, at the positions after the context. The first `shared` tokens of
    /// the context are not in the row.
    fn add_request(&mut self, row_start: usize, index: usize, request: &Request, shared: usize) {
        let start = (self.tokens.len() - row_start) as u32;
        let context = start..start + (request.context.len() - shared) as u32;
        for (position, &token) in request.context.iter().enumerate().skip(shared) {
            self.push(token, position, KeySpan { prefix: 0..0, own_start: start });
        }
        let context_end = self.tokens.len() - 1;
        for (continuation, Continuation { given, tokens, .. }) in request.continuations.iter().enumerate() {
            let own_start = (self.tokens.len() - row_start) as u32;
            let (mut predictor, mut position, span) = if given.is_empty() {
                (context_end, request.context.len(), KeySpan { prefix: context.clone(), own_start })
            } else {
                // It follows the previous continuation, and attends to everything before it in the request.
                let last = self.tokens.len() - 1;
                (last, self.positions[last] as usize + 1, KeySpan { prefix: 0..0, own_start: start })
            };
            for (offset, &token) in given.iter().chain(tokens).enumerate() {
                if offset >= given.len() {
                    self.targets.push(ScoringTarget {
                        position: predictor as u32,
                        token,
                        request: index,
                        continuation,
                    });
                }
                if offset + 1 < given.len() + tokens.len() {
                    predictor = self.tokens.len();
                    self.push(token, position, span.clone());
                    position += 1;
                }
            }
        }
    }

    /// Pads the batch. Padding attends only to itself, and nothing attends to it.
    fn pad_to(&mut self, len: usize) {
        while self.tokens.len() < len {
            self.push(0, 0, KeySpan { prefix: 0..0, own_start: u32::MAX });
        }
    }

    fn push(&mut self, token: u32, position: usize, span: KeySpan) {
        self.tokens.push(token);
        self.positions.push(position as u32);
        self.spans.push(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request(context: &[u32], continuations: &[&[u32]]) -> Request {
        let continuations = continuations
            .iter()
            .enumerate()
            .map(|(choice, tokens)| Continuation { choice, given: Vec::new(), tokens: tokens.to_vec() })
            .collect();
        Request { item: 0, unconditional: false, context: context.to_vec(), continuations }
    }

    /// Requests of these lengths without a common prefix.
    fn of_lens(lens: &[usize]) -> Vec<Request> {
        let context = |(own, &len): (usize, &usize)| vec![10 + own as u32; len];
        lens.iter().enumerate().map(|of| request(&context(of), &[&[1]])).collect()
    }

    fn packed(requests: &[Request]) -> Vec<PackedGroup> {
        pack(&requests.iter().collect::<Vec<_>>())
    }

    fn build(rows: &BatchRows, requests: &[Request], shared: usize) -> PackedBatch {
        PackedBatch::build(rows, &requests.iter().collect::<Vec<_>>(), shared)
    }

    #[test]
    fn nothing_packs_to_nothing() {
        assert!(packed(&[]).is_empty());
        assert_eq!(build(&vec![], &[], 0), PackedBatch::default());
    }

    #[test]
    fn gaps_are_filled_and_long_requests_stand_alone() {
        let [group] = &packed(&of_lens(&[100, 300, 156, 50]))[..] else { panic!("one group") };
        assert_eq!((group.shared.len(), &group.batches), (0, &vec![vec![vec![1], vec![2, 0], vec![3]]]));
    }

    #[test]
    fn batches_keep_to_their_budget() {
        let sizes = |lens: &[usize]| -> Vec<usize> {
            packed(&of_lens(lens))[0].batches.iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(&[256; 40]), [16, 16, 8]);
        assert_eq!(sizes(&[5000, 4000]), [1, 1]);
    }

    #[test]
    fn what_contexts_share_is_not_in_the_rows() {
        let shared = [7; 600];
        let of = |own: &[u32], continuations| request(&[&shared, own].concat(), continuations);
        let requests = [of(&[1, 2], &[&[3, 4]]), of(&[5], &[&[6, 8], &[9]]), of(&[2, 2, 2], &[&[1]])];
        let [group] = &packed(&requests)[..] else { panic!("one group") };
        assert_eq!((group.shared.as_slice(), &group.batches), (&shared[..], &vec![vec![vec![0, 2, 1]]]));
        let batch = build(&vec![vec![0, 1]], &requests, 600);
        assert_eq!(batch.tokens, [1, 2, 3, 5, 6]);
        assert_eq!(batch.positions, [600, 601, 602, 600, 601]);
        let seen =
            |query: usize| (0..5).filter(|&key| batch.spans[query].allows(query, key)).collect::<Vec<_>>();
        assert_eq!([seen(2), seen(4)], [vec![0, 1, 2], vec![3, 4]]);
        let targets: Vec<_> = batch.targets.iter().map(|target| (target.position, target.token)).collect();
        assert_eq!(targets, [(1, 3), (2, 4), (3, 6), (4, 8), (3, 9)]);
    }

    #[test]
    fn a_context_is_read_once_and_choices_do_not_see_each_other() {
        let requests = [request(&[5, 6], &[&[7, 8, 9], &[3], &[4, 2]]), request(&[1], &[&[11, 12]])];
        let batch = build(&vec![vec![0, 1], vec![1]], &requests, 0);
        assert_eq!(batch.time, 7);
        assert_eq!(batch.tokens, [5, 6, 7, 8, 4, 1, 11, 1, 11, 0, 0, 0, 0, 0]);
        assert_eq!(batch.positions, [0, 1, 2, 3, 2, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
        let seen =
            |query: usize| (0..7).filter(|&key| batch.spans[query].allows(query, key)).collect::<Vec<_>>();
        assert_eq!(seen(1), [0, 1]);
        assert_eq!(seen(3), [0, 1, 2, 3]);
        assert_eq!(seen(4), [0, 1, 4]);
        assert_eq!(seen(6), [5, 6]);
        assert!(batch.spans[9].allows(2, 2) && !batch.spans[9].allows(2, 1));
        let targets: Vec<_> =
            batch.targets.iter().map(|t| (t.position, t.token, t.request, t.continuation)).collect();
        let first = [(1, 7, 0, 0), (2, 8, 0, 0), (3, 9, 0, 0), (1, 3, 0, 1), (1, 4, 0, 2), (4, 2, 0, 2)];
        assert_eq!(targets[..6], first);
        assert_eq!(targets[6..], [(5, 11, 1, 0), (6, 12, 1, 0), (7, 11, 1, 0), (8, 12, 1, 0)]);
    }

    #[test]
    fn what_is_chained_sees_all_before_it() {
        let mut chain = request(&[5, 6], &[&[7, 8], &[9], &[3, 4]]);
        chain.continuations[1].given = vec![8, 1];
        chain.continuations[2].given = vec![9, 2];
        let batch = build(&vec![vec![0, 1]], &[request(&[1], &[&[2]]), chain], 0);
        assert_eq!(batch.tokens, [1, 5, 6, 7, 8, 1, 9, 2, 3]);
        assert_eq!(batch.positions, [0, 0, 1, 2, 3, 4, 5, 6, 7]);
        for query in 1..9 {
            let seen: Vec<usize> = (0..9).filter(|&key| batch.spans[query].allows(query, key)).collect();
            assert!(seen.into_iter().eq(1..=query), "{query}");
        }
        let targets: Vec<_> =
            batch.targets[1..].iter().map(|t| (t.position, t.token, t.continuation)).collect();
        assert_eq!(targets, [(2, 7, 0), (3, 8, 0), (5, 9, 1), (7, 3, 2), (8, 4, 2)]);
    }

    proptest! {
        #[test]
        fn every_request_is_packed_once(lens in prop::collection::vec(1_usize..400, 0..300)) {
            let requests = of_lens(&lens);
            let groups = packed(&requests);
            let batches = groups.iter().flat_map(|group| &group.batches);
            let mut seen: Vec<usize> = batches.clone().flatten().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..requests.len()));
            for rows in batches {
                let batch = build(rows, &requests, 0);
                prop_assert!(batch.tokens.len() <= BATCH_TOKENS.max(batch.time));
                let len = |row: &Vec<usize>| row.iter().map(|&i| lens[i]).sum::<usize>();
                prop_assert!(rows.iter().all(|row| row.len() == 1 || len(row) <= ROW_TOKENS));
            }
        }
    }
}
