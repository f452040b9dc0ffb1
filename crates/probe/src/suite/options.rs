//! Options of a suite.

use fineline_data::Tokenizer;

use crate::scorers::generation::sandbox::CodeExecution;

/// Part of a suite to evaluate, and its tokenization.
#[derive(Clone, Copy, Debug)]
pub struct SuiteOptions<'a> {
    /// The model's tokenizer. Texts begin with BOS if its documents do.
    pub tokenizer: &'a Tokenizer,
    /// Context length of the model, in tokens. Longer contexts are truncated on the left.
    pub max_len: usize,
    /// Maximum number of items per task. `None` for all.
    pub limit: Option<usize>,
    /// Names of the tasks. Empty for all.
    pub tasks: &'a [String],
    /// Permission to run programs that the model writes.
    pub code: CodeExecution<'a>,
}
