//! Outcomes of commands that did not fail.

/// Outcome of a command that did not fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommandOutcome {
    /// The command succeeded.
    Done,
    /// The command succeeded, and what it compared differs.
    Differs,
    /// A signal stopped the command after it had saved its state.
    Stopped { signal: u8 },
}
