//! Collectives between processes that have several ranks each: the first rank of a process communicates for
//! all of them.

use std::ops::Range;

use crate::mailboxes::{Mailboxes, RankMessage};
use crate::ranks::Ranks;

/// Fills the mailboxes of other processes' ranks. Collective among the first ranks of processes.
pub(crate) trait ProcessLink {
    /// Parts of vectors, as [`Ranks::all_to_all_f32`].
    fn all_to_all_f32(&self, mailboxes: &Mailboxes);

    /// Vectors, as [`Ranks::all_gather_f32`].
    fn all_gather_f32(&self, mailboxes: &Mailboxes, lens: &[usize]);

    /// The bytes of rank 0.
    fn broadcast_bytes(&self, mailboxes: &Mailboxes);

    /// The bytes of all ranks.
    fn all_gather_bytes(&self, mailboxes: &Mailboxes);
}

/// The link of a rank that isn't the first of its process. It does nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoLink;

impl ProcessLink for NoLink {
    fn all_to_all_f32(&self, _: &Mailboxes) {}

    fn all_gather_f32(&self, _: &Mailboxes, _: &[usize]) {}

    fn broadcast_bytes(&self, _: &Mailboxes) {}

    fn all_gather_bytes(&self, _: &Mailboxes) {}
}

/// The link of the first rank of a process: collectives among processes.
pub(crate) struct LinkOfFirst<'a>(pub(crate) &'a dyn Ranks);

impl LinkOfFirst<'_> {
    fn other_processes<'a>(&'a self, mailboxes: &'a Mailboxes) -> impl Iterator<Item = usize> + 'a {
        (0..self.0.size()).filter(move |&process| process != mailboxes.process)
    }
}

/// Returns the ranks of a process.
fn ranks_of(mailboxes: &Mailboxes, process: usize) -> Range<usize> {
    mailboxes.count * process..mailboxes.count * (process + 1)
}

/// Returns the ranks of this process.
fn own_ranks(mailboxes: &Mailboxes) -> Range<usize> {
    ranks_of(mailboxes, mailboxes.process)
}

impl ProcessLink for LinkOfFirst<'_> {
    /// The values that one process sends to another are ordered by sending rank, then by receiving rank.
    fn all_to_all_f32(&self, mailboxes: &Mailboxes) {
        let processes = self.0.size();
        let (mut sent, mut sent_lens, mut received_lens) =
            (Vec::new(), vec![0; processes], vec![0; processes]);
        for process in self.other_processes(mailboxes) {
            let start = sent.len();
            for rank in own_ranks(mailboxes) {
                let message = mailboxes.read(rank);
                let others = ranks_of(mailboxes, process);
                received_lens[process] += message.received_lens[others.clone()].iter().sum::<usize>();
                others.for_each(|other| sent.extend(message.values_for(other)));
            }
            sent_lens[process] = sent.len() - start;
        }
        let mut received = vec![0.0; received_lens.iter().sum()];
        self.0.all_to_all_f32(&sent, &sent_lens, &mut received, &received_lens);
        let mut rest = &received[..];
        for rank in self.other_processes(mailboxes).flat_map(|process| ranks_of(mailboxes, process)) {
            let mut lens = vec![0; mailboxes.size()];
            own_ranks(mailboxes).for_each(|own| lens[own] = mailboxes.read(own).received_lens[rank]);
            let (values, tail) = rest.split_at(lens.iter().sum());
            rest = tail;
            mailboxes.write(rank, RankMessage { lens, ..RankMessage::from_values(values) });
        }
    }

    fn all_gather_f32(&self, mailboxes: &Mailboxes, lens: &[usize]) {
        let own: Vec<f32> =
            own_ranks(mailboxes).flat_map(|rank| mailboxes.read(rank).values.clone()).collect();
        let by_process: Vec<usize> = lens.chunks(mailboxes.count).map(|lens| lens.iter().sum()).collect();
        let mut all = vec![0.0; lens.iter().sum()];
        self.0.all_gather_f32(&own, &mut all, &by_process);
        let mut rest = &all[..];
        for (rank, &len) in lens.iter().enumerate() {
            let (values, tail) = rest.split_at(len);
            rest = tail;
            if !own_ranks(mailboxes).contains(&rank) {
                mailboxes.write(rank, RankMessage::from_values(values));
            }
        }
    }

    fn broadcast_bytes(&self, mailboxes: &Mailboxes) {
        let bytes = self.0.broadcast_bytes(mailboxes.read(0).bytes.clone());
        if !self.0.is_first() {
            mailboxes.write(0, RankMessage::from_bytes(bytes));
        }
    }

    fn all_gather_bytes(&self, mailboxes: &Mailboxes) {
        let own: Vec<Vec<u8>> = own_ranks(mailboxes).map(|rank| mailboxes.read(rank).bytes.clone()).collect();
        let all = self.0.all_gather_bytes(&join_messages(&own));
        for process in self.other_processes(mailboxes) {
            let messages = split_messages(&all[process], mailboxes.count);
            ranks_of(mailboxes, process)
                .zip(messages)
                .for_each(|(rank, bytes)| mailboxes.write(rank, RankMessage::from_bytes(bytes)));
        }
    }
}

/// Concatenates the messages of a process's ranks: their lengths, eight bytes each, then the messages.
fn join_messages(messages: &[Vec<u8>]) -> Vec<u8> {
    let lens = messages.iter().flat_map(|message| (message.len() as u64).to_le_bytes());
    lens.chain(messages.iter().flatten().copied()).collect()
}

/// Splits the output of [`join_messages`] into its `count` messages.
fn split_messages(joined: &[u8], count: usize) -> Vec<Vec<u8>> {
    let (lens, mut rest) = joined.split_at(8 * count);
    lens.chunks(8)
        .map(|len| {
            let len = len.iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte));
            let (message, tail) = rest.split_at(len);
            rest = tail;
            message.to_vec()
        })
        .collect()
}
