//! Prefixes shared by many contexts, such as few-shot examples. Each is computed once, and its requests reuse
//! the cache.

use crate::requests::request::Request;

/// Tokens that a shared prefix must save. A group has its own forward passes, which pay off only if they save
/// a good part of a batch.
const LEAST_SAVED: usize = 1024;

/// Requests whose contexts begin with the same tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PrefixGroup {
    /// Number of shared tokens. Smaller than the length of each context.
    pub(crate) shared: usize,
    /// Indices of the requests.
    pub(crate) members: Vec<usize>,
}

/// Distributes `requests` over groups so that the number of tokens to read is minimal (among groups that
/// don't overlap and save enough). The first group contains the requests without a shared prefix, and may be
/// empty.
///
/// Depends only on the tokens of the contexts.
pub(crate) fn group(requests: &[&Request]) -> Vec<PrefixGroup> {
    let mut order: Vec<usize> = (0..requests.len()).collect();
    order.sort_by(|a, b| requests[*a].context.cmp(&requests[*b].context).then(a.cmp(b)));
    let shared: Vec<usize> =
        order.windows(2).map(|pair| common(requests[pair[0]], requests[pair[1]])).collect();
    let mut groups = vec![PrefixGroup { shared: 0, members: Vec::new() }];
    let mut is_member = vec![false; order.len()];
    for SharedRun { shared, start, end, .. } in best(&shared, 0, order.len()).runs {
        groups.push(PrefixGroup { shared, members: order[start..end].to_vec() });
        is_member[start..end].fill(true);
    }
    let alone = order.iter().zip(is_member).filter(|(_, is_member)| !is_member);
    groups[0].members = alone.map(|(index, _)| *index).collect();
    groups
}

/// Length of the common prefix of both contexts, at least one token shorter than each.
fn common(a: &Request, b: &Request) -> usize {
    let (a, b) = (&a.context, &b.context);
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    same.min(a.len() - 1).min(b.len() - 1)
}

/// A range of requests, sorted by context, with a common prefix.
#[derive(Clone, Copy)]
struct SharedRun {
    shared: usize,
    start: usize,
    end: usize,
}

/// Ranges that don't overlap, and the number of tokens they save together.
struct RunSelection {
    saved: usize,
    runs: Vec<SharedRun>,
}

/// The best ranges within `start..end`, where `shared[i]` is the length of the common prefix of the requests
/// `i` and `i + 1`.
///
/// The prefix shared by a whole range is the minimum over adjacent requests. Either it is taken as one range,
/// or it is split where this minimum occurs.
fn best(shared: &[usize], start: usize, end: usize) -> RunSelection {
    let nothing = RunSelection { saved: 0, runs: Vec::new() };
    if end - start < 2 {
        return nothing;
    }
    let least = shared[start..end - 1].iter().copied().min().unwrap_or(0);
    let saved = least * (end - start - 1);
    let mut parts = nothing;
    let mut from = start;
    let cuts = (start..end - 1).filter(|&index| shared[index] == least).map(|index| index + 1);
    for cut in cuts.chain([end]) {
        // No part is the whole range, which would recurse forever: `least` occurs in the range, so there is a
        // cut.
        let part = best(shared, from, cut);
        parts.saved += part.saved;
        parts.runs.extend(part.runs);
        from = cut;
    }
    if saved >= LEAST_SAVED && saved >= parts.saved {
        return RunSelection { saved, runs: vec![SharedRun { shared: least, start, end }] };
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::requests::request::Continuation;
    use proptest::prelude::*;

    fn request(context: &[u32]) -> Request {
        Request {
            item: 0,
            unconditional: false,
            context: context.to_vec(),
            continuations: vec![Continuation { choice: 0, given: Vec::new(), tokens: vec![1] }],
        }
    }

    /// Contexts that begin with `len` equal tokens and end in a distinct one.
    fn after(kind: u32, len: usize, count: u32) -> Vec<Request> {
        (0..count).map(|own| request(&[vec![kind; len], vec![1000 + own]].concat())).collect()
    }

    fn groups(requests: &[Request]) -> Vec<(usize, usize)> {
        let requests: Vec<&Request> = requests.iter().collect();
        group(&requests).into_iter().map(|group| (group.shared, group.members.len())).collect()
    }

    #[test]
    fn requests_are_grouped_by_what_they_share() {
        let requests = [after(1, 600, 5), after(2, 5, 4), after(3, 300, 6)].concat();
        assert_eq!(groups(&requests), [(0, 4), (600, 5), (300, 6)]);
        assert_eq!(groups(&[]), [(0, 0)]);
        assert_eq!(groups(&after(1, 9, 1)), [(0, 1)]);
    }

    #[test]
    fn little_is_not_worth_a_group() {
        assert_eq!(groups(&after(1, 100, 11)), [(0, 11)]);
        assert_eq!(groups(&after(1, 104, 11)), [(0, 0), (104, 11)]);
    }

    #[test]
    fn longer_beginnings_of_some_outweigh_a_short_one_of_all() {
        let begin = |own: u32| [vec![7; 200], vec![own; 400]].concat();
        let of = |own| (0..4).map(move |last| request(&[begin(own), vec![1000 + last]].concat()));
        let two: Vec<Request> = of(1).chain(of(2)).collect();
        assert_eq!(groups(&two), [(0, 0), (600, 4), (600, 4)]);
        let many: Vec<Request> = (0..40).map(|own| request(&begin(own))).collect();
        assert_eq!(groups(&many), [(0, 0), (200, 40)]);
    }

    #[test]
    fn a_last_token_is_left_to_read_in_every_context() {
        let same = vec![request(&[5; 600]); 3];
        assert_eq!(groups(&same), [(0, 0), (599, 3)]);
        let one_token = vec![request(&[5]); 3000];
        assert_eq!(groups(&one_token), [(0, 3000)]);
    }

    proptest! {
        #[test]
        fn every_request_is_in_one_group(lens in prop::collection::vec((0_u32..3, 1_usize..700), 0..60)) {
            let requests: Vec<Request> = lens.iter().flat_map(|&(kind, len)| after(kind, len, 2)).collect();
            let borrowed: Vec<&Request> = requests.iter().collect();
            let groups = group(&borrowed);
            let mut seen: Vec<usize> = groups.iter().flat_map(|group| group.members.clone()).collect();
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..requests.len()));
            for PrefixGroup { shared, members } in &groups[1..] {
                let first = &requests[members[0]].context[..*shared];
                let starts_with_first = |&member: &usize| requests[member].context.starts_with(first);
                prop_assert!(*shared > 0 && members.iter().all(starts_with_first));
                prop_assert!(members.iter().all(|&member| requests[member].context.len() > *shared));
            }
        }
    }
}
