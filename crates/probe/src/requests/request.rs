//! A context, and the continuations that are scored after it.

use std::borrow::Cow;

/// A context and the continuations to score after it. Together they are at most a row long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Index of the item in the task.
    pub(crate) item: usize,
    /// Whether the context is the one shared by all items, for comparison with the item's own.
    pub(crate) unconditional: bool,
    /// At least one token.
    pub(crate) context: Vec<u32>,
    pub(crate) continuations: Vec<Continuation>,
}

/// Tokens to score: those of one choice of an item, or one window of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continuation {
    pub(crate) choice: usize,
    /// If not empty, the continuation follows the previous one instead of the context alone. These tokens are
    /// read between the two: the last token of the previous one, and the following ones that are not scored.
    pub(crate) given: Vec<u32>,
    /// At least one token.
    pub(crate) tokens: Vec<u32>,
}

impl Request {
    /// A request for a choice, without tokens yet.
    pub(crate) fn of_choice(item: usize, choice: usize) -> Self {
        let continuations = vec![Continuation { choice, given: Vec::new(), tokens: Vec::new() }];
        Self { item, unconditional: false, context: Vec::new(), continuations }
    }

    /// The tokens that the model reads before a continuation.
    pub(crate) fn before(&self, continuation: &Continuation) -> Cow<'_, [u32]> {
        if continuation.given.is_empty() {
            return Cow::from(&self.context);
        }
        let mut read = self.context.clone();
        for earlier in self.continuations.iter().take_while(|earlier| earlier.choice < continuation.choice) {
            read.extend(earlier.given.iter().skip(1).chain(&earlier.tokens));
        }
        read.extend(continuation.given.iter().skip(1));
        Cow::from(read)
    }

    /// Number of tokens that the model reads: the context once, and each continuation without its last token.
    pub(crate) fn input_len(&self) -> usize {
        self.context.len() + self.continuations.iter().map(Continuation::input_len).sum::<usize>()
    }
}

impl Continuation {
    fn input_len(&self) -> usize {
        self.given.len() + self.tokens.len() - 1
    }
}

/// The requests of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ItemRequests {
    pub(crate) requests: Vec<Request>,
    /// Whether a context was truncated on the left.
    pub(crate) truncated: bool,
}

impl ItemRequests {
    pub(crate) fn none() -> Self {
        Self { requests: Vec::new(), truncated: false }
    }

    /// Adds a request to the previous one if that has the same context and enough room, else as a new one.
    pub(crate) fn add(&mut self, request: Request, max_len: usize) {
        let has_room = |last: &Request| {
            let added: usize = request.continuations.iter().map(Continuation::input_len).sum();
            last.unconditional == request.unconditional
                && last.context == request.context
                && last.input_len() + added <= max_len
        };
        match self.requests.last_mut().filter(|last| has_room(last)) {
            Some(last) => last.continuations.extend(request.continuations),
            None => self.requests.push(request),
        }
    }
}

/// The token ids of a scored continuation and of its context, or of a prompt to complete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTokens<'a> {
    /// The task.
    pub task: &'a str,
    /// Index of the item in the complete data of the task.
    pub item: usize,
    /// The choice.
    pub choice: usize,
    /// Whether the context is [`Task::unconditional`](crate::Task::unconditional).
    pub unconditional: bool,
    /// The tokens that the model reads first.
    pub context: Cow<'a, [u32]>,
    /// The scored tokens. Empty if the model generates the continuation.
    pub continuation: &'a [u32],
}
