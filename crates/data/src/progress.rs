//! Progress of the preparation of data.

/// Progress of the preparation of a source.
#[derive(Clone, Debug)]
pub struct PreparationProgress<'a> {
    /// Name of the source.
    pub source: &'a str,
    /// Number of bytes read from disk.
    pub bytes: u64,
    /// Size of all its files in bytes.
    pub total_bytes: u64,
    /// Number of documents written.
    pub documents: u64,
    /// Number of tokens written.
    pub tokens: u64,
}
