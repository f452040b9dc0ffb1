//! Progress of work on files.

/// How far the tokenization of a source is.
#[derive(Clone, Debug)]
pub struct PreparationProgress<'a> {
    /// `name` of the source.
    pub source: &'a str,
    /// Bytes read from disk.
    pub bytes: u64,
    /// Bytes of all its files.
    pub total_bytes: u64,
    /// Documents written.
    pub documents: u64,
    /// Tokens written.
    pub tokens: u64,
}
