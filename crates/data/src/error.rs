//! Errors of text, tokenizers, shards and their configuration.

use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass, Problems};

use crate::boundary_tokens::BoundaryTokens;

/// An error of text, tokenizers, shards or their configuration.
///
/// Each message names the file or key, what is wrong, what was expected, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file cannot be read or written. The message contains its path.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An error in one source of the mixture.
    #[error("data source `{name}`: {error}")]
    Source {
        /// Name of the source in `[[data.mix]]`.
        name: String,
        /// Error of the source.
        error: Box<DataError>,
    },
    /// Values of the configuration that can't be used.
    #[error(transparent)]
    Config(#[from] Problems),
    /// The path of a source doesn't exist.
    #[error(
        "`{path}`: no such file or directory; expected a text file, a directory, a glob pattern, or token \
         shards (PREFIX for PREFIX.bin and PREFIX.idx)"
    )]
    PathNotFound {
        /// Path as configured.
        path: String,
    },
    /// A directory or glob pattern matches no file that can be read.
    #[error(
        "`{path}`: no text files or token shards found; expected files that end in .txt, .jsonl or .json \
         (also with .gz or .zst), or in .idx"
    )]
    NoFiles {
        /// Path as configured.
        path: String,
    },
    /// A file that is named explicitly has an unknown type.
    #[error(
        "`{path}`: unknown file type; expected .txt, .jsonl or .json (also with .gz or .zst), or token \
         shards (.bin and .idx)"
    )]
    UnknownFileType {
        /// The file.
        path: PathBuf,
    },
    /// A directory or glob pattern matches both text and token shards.
    #[error("`{path}`: contains both text files and token shards; configure them as two sources")]
    MixedSource {
        /// Path as configured.
        path: String,
    },
    /// Text is required, but the path contains token shards.
    #[error(
        "`{path}`: contains token shards; expected text files, because token shards are prepared already"
    )]
    AlreadyTokenized {
        /// Path as configured.
        path: String,
    },
    /// The files of a source contain no text.
    #[error("`{path}`: no text in {files} file(s); expected at least one document that isn't empty")]
    Empty {
        /// Path as configured.
        path: String,
        /// Number of files.
        files: usize,
    },
    /// Text is not valid UTF-8.
    #[error("`{path}`: invalid UTF-8 at byte {offset}{}; convert the file to UTF-8", at_line(*line))]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Offset of the first invalid byte in the decompressed text, from 0.
        offset: u64,
        /// Line number from 1, if the file is read by lines.
        line: Option<u64>,
    },
    /// A line of a JSONL file is not a JSON object.
    #[error("`{path}` line {line}: not a JSON object: {message}")]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// Message of the parser.
        message: String,
    },
    /// A JSONL record doesn't have the configured field.
    #[error("`{path}` line {line}: no field `{field}`; the record has {found}{hint}")]
    MissingField {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// Name of the configured field.
        field: String,
        /// Names of the fields that exist.
        found: String,
        /// The most similar of them, as a suggestion.
        hint: String,
    },
    /// The configured field of a JSONL record is not a string.
    #[error("`{path}` line {line}: field `{field}` is {found}, expected a string")]
    FieldNotString {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// Name of the field.
        field: String,
        /// JSON type of its value.
        found: &'static str,
    },
    /// A compressed file is truncated or corrupt.
    #[error("`{path}`: truncated or corrupt after {offset} bytes of text: {message}; get the file again")]
    DamagedFile {
        /// The file.
        path: PathBuf,
        /// Number of bytes that were decompressed before the error.
        offset: u64,
        /// Message of the decompressor.
        message: String,
    },
    /// A tokenizer file cannot be used.
    #[error("`{path}`: not a usable tokenizer: {message}")]
    BadTokenizer {
        /// The file.
        path: PathBuf,
        /// Reason.
        message: String,
    },
    /// BOS or EOS is configured, but the tokenizer has none.
    #[error(
        "`tokenizer.{key}` is true: `{path}` has no {token} token; set `tokenizer.{key}` to false, or name \
         the token in tokenizer_config.json"
    )]
    NoBoundaryToken {
        /// `add_bos` or `add_eos`.
        key: &'static str,
        /// `BOS` or `EOS`.
        token: &'static str,
        /// File of the tokenizer.
        path: PathBuf,
    },
    /// No tokenizer is configured and none can be trained.
    #[error(
        "`tokenizer.path` is missing: source `{name}` contains token ids, from which no tokenizer can be \
         trained; set it to the tokenizer that produced them"
    )]
    NoTokenizer {
        /// Name of the source.
        name: String,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed: {message}")]
    Tokenize {
        /// Message of the tokenizer.
        message: String,
    },
    /// The index or information file of a shard is invalid.
    #[error("`{path}`: not a valid Megatron index: {message}")]
    InvalidIndex {
        /// The `.idx` or `.fineline.json` file.
        path: PathBuf,
        /// Difference from the format.
        message: String,
    },
    /// The size of a shard's file differs from the size that its index describes.
    #[error(
        "`{path}`: has {found} bytes, but its index describes {expected}; the file is truncated or doesn't \
         belong to it"
    )]
    TruncatedShard {
        /// The `.bin` or `.idx` file.
        path: PathBuf,
        /// Number of bytes that the index describes.
        expected: u64,
        /// Number of bytes of the file.
        found: u64,
    },
    /// A document is too long for the shard format.
    #[error(
        "a document has {tokens} tokens, more than the 2^31 - 1 that the shard format can store; split it"
    )]
    LongDocument {
        /// Number of tokens.
        tokens: usize,
    },
    /// Shards were made with another tokenizer than the one in use.
    #[error(
        "`{path}`: made with another tokenizer ({made_with}) than the one in use ({in_use}); prepare the \
         text again, or delete this file if both tokenizers give the same ids"
    )]
    OtherTokenizer {
        /// The shard's `.fineline.json`.
        path: PathBuf,
        /// Fingerprint of the tokenizer of the shard.
        made_with: String,
        /// Fingerprint of the tokenizer in use.
        in_use: String,
    },
    /// The documents of shards have other BOS and EOS tokens than the run is configured for.
    #[error(
        "`{path}`: made with {made_with} around each document, but this run is configured for {in_use}; {}, \
         or prepare the text again",
        boundary_tokens_hint(*made_with, *in_use)
    )]
    OtherBoundaryTokens {
        /// The shard's `.fineline.json`.
        path: PathBuf,
        /// Tokens in the shard.
        made_with: BoundaryTokens,
        /// Tokens of the run.
        in_use: BoundaryTokens,
    },
    /// The configured directory of chunks doesn't exist.
    #[error("`{path}`: no such directory; expected a directory of chunks")]
    ChunksNotFound {
        /// Path as configured.
        path: PathBuf,
    },
    /// A directory of chunks lacks one of the chunks to train on.
    #[error(
        "`{dir}`: chunk {number} is missing; expected `train_{number:03}.jsonl` (or .jsonl.gz, .jsonl.zst); \
         add the file, or list {number} in `data.chunks.skip`"
    )]
    MissingChunk {
        /// The directory.
        dir: PathBuf,
        /// Number of the chunk.
        number: u64,
    },
    /// Two files have the number of the same chunk.
    #[error("`{first}` and `{second}` are both chunk {number}; remove one of them")]
    DuplicateChunk {
        /// First file.
        first: PathBuf,
        /// Second file.
        second: PathBuf,
        /// Number of the chunk.
        number: u64,
    },
    /// A chunk has no rows.
    #[error("`{path}`: contains no rows; get the file again, or list its number in `data.chunks.skip`")]
    EmptyChunk {
        /// The file.
        path: PathBuf,
    },
    /// A chunk has fewer rows than one batch.
    #[error(
        "`{path}`: has {rows} rows, fewer than one batch (train.global_batch_size is {batch}), so none of \
         them would be trained on; get the file again, list its number in `data.chunks.skip`, or lower \
         `train.global_batch_size`"
    )]
    SmallChunk {
        /// The file.
        path: PathBuf,
        /// Number of rows.
        rows: u64,
        /// Rows per batch.
        batch: u64,
    },
    /// A line of a chunk is not a row.
    #[error("`{path}` line {line}: not a row {{\"token_ids\": [...]}}: {message}")]
    InvalidRow {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// Message of the parser.
        message: String,
    },
    /// A row has the wrong length.
    #[error("`{path}` line {line}: {found} token ids, expected {expected} (data.seq_len + 1)")]
    RowLength {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// Number of ids in the row.
        found: usize,
        /// Number of ids that rows have.
        expected: usize,
    },
    /// A row contains an id outside the vocabulary.
    #[error(
        "`{path}` line {line}: token id {id} is out of range, expected ids below {vocab_size}; the rows were \
         made with another tokenizer"
    )]
    RowId {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: u64,
        /// The id.
        id: u32,
        /// Vocabulary size of the tokenizer.
        vocab_size: usize,
    },
    /// A source has fewer rows than there are chunks to fill.
    #[error(
        "{rows} rows, of which {validation} are held out for validation, are too few for {chunks} chunks, \
         which need at least one row each; add text, or configure fewer chunks"
    )]
    TooFewRows {
        /// Number of rows.
        rows: u64,
        /// Number of rows to be held out for validation.
        validation: u64,
        /// Number of chunks to fill.
        chunks: u64,
    },
    /// A directory contains chunks that were made from something else.
    #[error(
        "`{dir}`: contains chunks that were made from another text, tokenizer or setting; use another \
         directory, or remove this one"
    )]
    OtherChunks {
        /// The directory.
        dir: PathBuf,
    },
    /// Another process is making chunks in the directory.
    #[error("`{dir}`: another process is making chunks in this directory; wait until it has finished")]
    ChunksLocked {
        /// The directory.
        dir: PathBuf,
    },
    /// The training text is shorter than one row.
    #[error(
        "{tokens} tokens of training text are fewer than the {needed} of one row; add text, or lower \
         `data.seq_len`"
    )]
    TooFewTokens {
        /// Number of tokens.
        tokens: u64,
        /// Tokens per row: `seq_len` + 1.
        needed: u64,
    },
}

impl DataError {
    /// Returns this error with the name of the source that it occurred in.
    pub(crate) fn in_source(self, name: &str) -> Self {
        Self::Source { name: name.to_owned(), error: Box::new(self) }
    }
}

impl Classified for DataError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Source { error, .. } => error.class(),
            Self::Config(_)
            | Self::NoBoundaryToken { .. }
            | Self::NoTokenizer { .. }
            | Self::OtherBoundaryTokens { .. } => ErrorClass::Configuration,
            _ => ErrorClass::Environment,
        }
    }
}

/// Result of the functions of this crate.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// Returns the settings under which a run has the boundary tokens of a shard.
fn boundary_tokens_hint(made_with: BoundaryTokens, in_use: BoundaryTokens) -> String {
    let pairs = [
        ("add_bos", "bos_token", made_with.bos, in_use.bos),
        ("add_eos", "eos_token", made_with.eos, in_use.eos),
    ];
    let differing = pairs.into_iter().filter(|(_, _, made_with, in_use)| made_with != in_use);
    let hints = differing.map(|(key, token, made_with, in_use)| match (made_with, in_use) {
        (Some(id), Some(_)) => format!("name the token with id {id} as {token} in tokenizer_config.json"),
        (made_with, _) => format!("set tokenizer.{key} to {}", made_with.is_some()),
    });
    hints.collect::<Vec<_>>().join(" and ")
}

fn at_line(line: Option<u64>) -> String {
    line.map(|line| format!(" (line {line})")).unwrap_or_default()
}

/// Returns the message of the JSON parser with the column only, because its line number is always 1.
pub(crate) fn describe_json_error(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let problem = message.split(" at line ").next().unwrap_or_default();
    format!("{problem} (column {})", error.column())
}
