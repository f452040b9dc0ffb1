//! Requests laid side by side into rows, and rows into batches, so that a model's passes are full.
//!
//! The layout depends on the lengths of the requests alone: the same items give the same batches, and with them the same bits.

use fineline_kernels::Span;

use crate::request::Request;

/// Tokens of a row that more requests are added to; a longer request has a row to itself. Attention costs the square of this.
const ROW_TOKENS: usize = 256;

/// Tokens of a batch, padding included; a longer row is a batch of its own.
const BATCH_TOKENS: usize = 4096;

/// Rows of one batch, each a list of requests by their index.
pub(crate) type Rows = Vec<Vec<usize>>;

/// Distributes requests over rows (the longest first, each into the first row with room for it) and rows, the longest first, over batches.
pub(crate) fn pack(requests: &[Request]) -> Vec<Rows> {
    let len = |index: &usize| requests[*index].input_len();
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(len(index)));
    let mut rows: Vec<(usize, Vec<usize>)> = Vec::new();
    // Rows before this one have no room for the shortest request.
    let shortest = order.last().map_or(0, len);
    let mut first_open = 0;
    for index in order {
        while rows.get(first_open).is_some_and(|(used, _)| used + shortest > ROW_TOKENS) {
            first_open += 1;
        }
        match rows[first_open..].iter_mut().find(|(used, _)| used + len(&index) <= ROW_TOKENS) {
            Some((used, row)) => {
                *used += len(&index);
                row.push(index);
            }
            None => rows.push((len(&index), vec![index])),
        }
    }
    rows.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
    batches(rows)
}

/// Cuts sorted `(length, row)` into batches within the token budget.
fn batches(rows: Vec<(usize, Vec<usize>)>) -> Vec<Rows> {
    let mut batches: Vec<Rows> = Vec::new();
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

/// A batch as the model takes it: `rows × time`, row-major.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) time: usize,
    pub(crate) tokens: Vec<u32>,
    pub(crate) positions: Vec<u32>,
    pub(crate) spans: Vec<Span>,
    pub(crate) targets: Vec<Target>,
}

/// A token to score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// The place in the batch from which it is predicted: `row * time + column`.
    pub(crate) place: u32,
    pub(crate) token: u32,
    /// The request that it belongs to, and which of its continuations.
    pub(crate) request: usize,
    pub(crate) continuation: usize,
}

impl Batch {
    /// Lays out `rows`. Targets are in the order of rows, requests, continuations, tokens.
    pub(crate) fn build(rows: &Rows, requests: &[Request]) -> Self {
        let time = rows
            .iter()
            .map(|row| row.iter().map(|&index| requests[index].input_len()).sum())
            .max()
            .unwrap_or(0);
        let mut batch = Self { time, ..Self::default() };
        for row in rows {
            let row_start = batch.tokens.len();
            for &index in row {
                batch.place(row_start, index, &requests[index]);
            }
            batch.pad_to(row_start + time);
        }
        batch
    }

    /// Appends a request to the row that begins at `row_start`: its context, then each continuation, which sees the context and
    /// itself, at the positions after the context.
    fn place(&mut self, row_start: usize, index: usize, request: &Request) {
        let start = (self.tokens.len() - row_start) as u32;
        let context = start..start + request.context.len() as u32;
        for (position, &token) in request.context.iter().enumerate() {
            self.push(token, position, Span { prefix: 0..0, own_start: start });
        }
        let context_end = self.tokens.len() - 1;
        for (continuation, tokens) in request.continuations.iter().map(|c| &c.tokens).enumerate() {
            let own_start = (self.tokens.len() - row_start) as u32;
            let mut place = context_end as u32;
            for (offset, &token) in tokens.iter().enumerate() {
                self.targets.push(Target { place, token, request: index, continuation });
                if offset + 1 < tokens.len() {
                    place = self.tokens.len() as u32;
                    self.push(
                        token,
                        request.context.len() + offset,
                        Span { prefix: context.clone(), own_start },
                    );
                }
            }
        }
    }

    /// Padding sees itself only, and is seen by nothing.
    fn pad_to(&mut self, len: usize) {
        while self.tokens.len() < len {
            self.push(0, 0, Span { prefix: 0..0, own_start: u32::MAX });
        }
    }

    fn push(&mut self, token: u32, position: usize, span: Span) {
        self.tokens.push(token);
        self.positions.push(position as u32);
        self.spans.push(span);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Continuation;
    use proptest::prelude::*;

    fn request(context: &[u32], continuations: &[&[u32]]) -> Request {
        let continuations = continuations
            .iter()
            .enumerate()
            .map(|(choice, tokens)| Continuation { choice, tokens: tokens.to_vec() })
            .collect();
        Request { item: 0, unconditional: false, context: context.to_vec(), continuations }
    }

    fn of_len(len: usize) -> Request {
        request(&vec![9; len], &[&[1]])
    }

    #[test]
    fn nothing_packs_to_nothing() {
        assert!(pack(&[]).is_empty());
        assert_eq!(Batch::build(&vec![], &[]), Batch::default());
    }

    #[test]
    fn gaps_are_filled_and_long_requests_stand_alone() {
        let requests = [of_len(100), of_len(300), of_len(156), of_len(50)];
        assert_eq!(pack(&requests), [vec![vec![1], vec![2, 0], vec![3]]]);
    }

    #[test]
    fn batches_keep_to_their_budget() {
        let requests: Vec<Request> = (0..40).map(|_| of_len(256)).collect();
        assert_eq!(pack(&requests).iter().map(Vec::len).collect::<Vec<_>>(), [16, 16, 8]);
        assert_eq!(pack(&[of_len(5000), of_len(4000)]).len(), 2);
    }

    #[test]
    fn a_context_is_read_once_and_choices_do_not_see_each_other() {
        let requests = [request(&[5, 6], &[&[7, 8, 9], &[3], &[4, 2]]), request(&[1], &[&[11, 12]])];
        let batch = Batch::build(&vec![vec![0, 1], vec![1]], &requests);
        assert_eq!(batch.time, 7);
        assert_eq!(batch.tokens, [5, 6, 7, 8, 4, 1, 11, 1, 11, 0, 0, 0, 0, 0]);
        assert_eq!(batch.positions, [0, 1, 2, 3, 2, 0, 1, 0, 1, 0, 0, 0, 0, 0]);
        let seen =
            |query: usize| (0..7).filter(|&key| batch.spans[query].sees(query, key)).collect::<Vec<_>>();
        assert_eq!(seen(1), [0, 1]);
        assert_eq!(seen(3), [0, 1, 2, 3]);
        assert_eq!(seen(4), [0, 1, 4]);
        assert_eq!(seen(6), [5, 6]);
        assert!(batch.spans[9].sees(2, 2) && !batch.spans[9].sees(2, 1));
        let targets: Vec<_> =
            batch.targets.iter().map(|t| (t.place, t.token, t.request, t.continuation)).collect();
        let first = [(1, 7, 0, 0), (2, 8, 0, 0), (3, 9, 0, 0), (1, 3, 0, 1), (1, 4, 0, 2), (4, 2, 0, 2)];
        assert_eq!(targets[..6], first);
        assert_eq!(targets[6..], [(5, 11, 1, 0), (6, 12, 1, 0), (7, 11, 1, 0), (8, 12, 1, 0)]);
    }

    proptest! {
        #[test]
        fn every_request_is_packed_once(lens in prop::collection::vec(1_usize..400, 0..300)) {
            let requests: Vec<Request> = lens.iter().map(|&len| of_len(len)).collect();
            let batches = pack(&requests);
            let mut seen: Vec<usize> = batches.iter().flatten().flatten().copied().collect();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..requests.len()));
            for rows in &batches {
                let batch = Batch::build(rows, &requests);
                prop_assert!(batch.tokens.len() <= BATCH_TOKENS.max(batch.time));
                prop_assert!(rows.iter().all(|row| row.len() == 1 || row.iter().map(|&i| lens[i]).sum::<usize>() <= ROW_TOKENS));
            }
        }
    }
}
