//! The outcome of a command that did not fail.

/// How a command ended, where it didn't fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandOutcome {
    /// It did what it was asked for.
    Done,
    /// It did, and what it compared differs.
    Differs,
    /// A signal stopped it, after it had saved everything.
    Stopped { signal: u8 },
}
