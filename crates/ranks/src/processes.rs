//! How the ranks of one process reach those of others: the first of each process speaks for all of its own.

use std::ops::Range;

use crate::Ranks;
use crate::board::{Board, Post};

/// Brings the posts of other processes' ranks to the board. Collective among the first ranks of processes.
pub(crate) trait Link {
    /// Parts of vectors, as [`Ranks::exchange`].
    fn exchange(&self, board: &Board);

    /// Vectors, as [`Ranks::gather`].
    fn gather(&self, board: &Board, lens: &[usize]);

    /// The words of rank 0.
    fn broadcast(&self, board: &Board);

    /// The words of all.
    fn collect(&self, board: &Board);
}

/// The link of a rank that has the first of its process speak for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoLink;

impl Link for NoLink {
    fn exchange(&self, _: &Board) {}

    fn gather(&self, _: &Board, _: &[usize]) {}

    fn broadcast(&self, _: &Board) {}

    fn collect(&self, _: &Board) {}
}

/// The link of the first rank of a process.
pub(crate) struct Processes<'a>(pub(crate) &'a dyn Ranks);

impl Processes<'_> {
    /// The ranks of a process.
    fn ranks(board: &Board, process: usize) -> Range<usize> {
        board.count * process..board.count * (process + 1)
    }

    fn others<'a>(&'a self, board: &'a Board) -> impl Iterator<Item = usize> + 'a {
        (0..self.0.size()).filter(move |&process| process != board.process)
    }
}

impl Link for Processes<'_> {
    /// What goes from one process to another is in the order of senders, then of receivers.
    fn exchange(&self, board: &Board) {
        let own = || Self::ranks(board, board.process);
        let processes = self.0.size();
        let (mut sent, mut sent_lens, mut received_lens) =
            (Vec::new(), vec![0; processes], vec![0; processes]);
        for process in self.others(board) {
            let start = sent.len();
            for rank in own() {
                let post = board.read(rank);
                Self::ranks(board, process).for_each(|other| sent.extend(post.part(other)));
                received_lens[process] += post.expected[Self::ranks(board, process)].iter().sum::<usize>();
            }
            sent_lens[process] = sent.len() - start;
        }
        let mut received = vec![0.0; received_lens.iter().sum()];
        self.0.exchange(&sent, &sent_lens, &mut received, &received_lens);
        let mut rest = &received[..];
        for rank in self.others(board).flat_map(|process| Self::ranks(board, process)) {
            let mut lens = vec![0; board.size()];
            own().for_each(|own| lens[own] = board.read(own).expected[rank]);
            let (values, behind) = rest.split_at(lens.iter().sum());
            rest = behind;
            board.post(rank, Post { lens, ..Post::values(values) });
        }
    }

    fn gather(&self, board: &Board, lens: &[usize]) {
        let own: Vec<f32> =
            Self::ranks(board, board.process).flat_map(|rank| board.read(rank).values.clone()).collect();
        let by_process: Vec<usize> = lens.chunks(board.count).map(|lens| lens.iter().sum()).collect();
        let mut all = vec![0.0; lens.iter().sum()];
        self.0.gather(&own, &mut all, &by_process);
        let mut rest = &all[..];
        for (rank, &len) in lens.iter().enumerate() {
            let (values, behind) = rest.split_at(len);
            rest = behind;
            if !Self::ranks(board, board.process).contains(&rank) {
                board.post(rank, Post::values(values));
            }
        }
    }

    fn broadcast(&self, board: &Board) {
        let words = self.0.broadcast(board.read(0).words.clone());
        if !self.0.is_first() {
            board.post(0, Post::words(words));
        }
    }

    fn collect(&self, board: &Board) {
        let own: Vec<Vec<u8>> =
            Self::ranks(board, board.process).map(|rank| board.read(rank).words.clone()).collect();
        let all = self.0.collect(&joined(&own));
        for process in self.others(board) {
            let words = split(&all[process], board.count);
            Self::ranks(board, process)
                .zip(words)
                .for_each(|(rank, words)| board.post(rank, Post::words(words)));
        }
    }
}

/// Several words as one: their lengths, eight bytes each, then the words.
fn joined(words: &[Vec<u8>]) -> Vec<u8> {
    let lens = words.iter().flat_map(|words| (words.len() as u64).to_le_bytes());
    lens.chain(words.iter().flatten().copied()).collect()
}

/// The `count` words of which one was made.
fn split(joined: &[u8], count: usize) -> Vec<Vec<u8>> {
    let (lens, mut rest) = joined.split_at(8 * count);
    let word = |len: &[u8]| {
        let len = len.iter().rev().fold(0, |len, &byte| len << 8 | usize::from(byte));
        let (word, behind) = rest.split_at(len);
        rest = behind;
        word.to_vec()
    };
    lens.chunks(8).map(word).collect()
}
