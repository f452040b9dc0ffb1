//! A context, and the continuations that are scored after it.

use std::borrow::Cow;

/// A context and the continuations to score after it, together at most a row long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// Which of the task's items it belongs to.
    pub(crate) item: usize,
    /// Whether the context is the one that all items share, to which the item's own is held.
    pub(crate) unconditional: bool,
    /// At least one token.
    pub(crate) context: Vec<u32>,
    pub(crate) continuations: Vec<Continuation>,
}

/// Tokens to score; those of one choice of one item, or a window of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Continuation {
    pub(crate) choice: usize,
    /// If there are any, the continuation follows the one before it instead of the context alone, and these are read between the two: the
    /// last token of the one before, and what comes after it.
    pub(crate) given: Vec<u32>,
    /// At least one token.
    pub(crate) tokens: Vec<u32>,
}

impl Request {
    /// To score the choice of this number, without tokens yet.
    pub(crate) fn of_choice(item: usize, choice: usize) -> Self {
        let continuations = vec![Continuation { choice, given: Vec::new(), tokens: Vec::new() }];
        Self { item, unconditional: false, context: Vec::new(), continuations }
    }

    /// What the model reads before one of the continuations.
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

    /// Tokens that the model reads: the context once, and each continuation but for its last token, which nothing follows.
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
    /// Whether a context lost tokens on its left to fit.
    pub(crate) truncated: bool,
}

impl ItemRequests {
    pub(crate) fn none() -> Self {
        Self { requests: Vec::new(), truncated: false }
    }

    /// Adds a request to the last one if that has the same context and room, else as a new one.
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

/// A text that is scored after another one: a choice of an item, or a window of a text to predict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestTokens<'a> {
    /// The task.
    pub task: &'a str,
    /// The item's index in the task's whole data.
    pub item: usize,
    /// The choice.
    pub choice: usize,
    /// Whether the context is [`Task::unconditional`].
    pub unconditional: bool,
    /// The tokens that the model reads first.
    pub context: Cow<'a, [u32]>,
    /// The tokens that are scored; none, where the model writes what follows.
    pub continuation: &'a [u32],
}
