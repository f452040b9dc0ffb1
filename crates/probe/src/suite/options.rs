//! Options of a suite.

use fineline_data::Tokenizer;

use crate::scorers::generation::sandbox::CodeExecution;

/// Which part of a suite to ask, and how its text becomes tokens.
#[derive(Clone, Copy, Debug)]
pub struct SuiteOptions<'a> {
    /// The model's tokenizer; texts begin with BOS if its documents do.
    pub tokenizer: &'a Tokenizer,
    /// Tokens that the model can read at a time; longer contexts lose tokens on their left.
    pub max_len: usize,
    /// Items per task at most; `None` for all.
    pub limit: Option<usize>,
    /// Names of the tasks; empty for all.
    pub tasks: &'a [String],
    /// Whether programs that the model writes may be run.
    pub code: CodeExecution<'a>,
}
