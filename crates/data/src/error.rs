use std::path::PathBuf;

use fineline_diagnostics::{Classified, ErrorClass};

use crate::Marks;

/// What can be wrong with text, tokenizers, shards or their configuration. Each message says where, what was expected, and
/// what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be read or written; the message names it.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// An error in one source of the mixture.
    #[error("data source `{name}`: {error}")]
    Source {
        /// `name` of the source in `[[data.mix]]`.
        name: String,
        /// What is wrong with it.
        error: Box<DataError>,
    },
    /// A value of the configuration is out of its range.
    #[error("`{key}` is {value}: {expected}")]
    Config {
        /// The key in TOML notation.
        key: String,
        /// The value found.
        value: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A source's path leads nowhere.
    #[error(
        "nothing at `{path}`: expected a text file, a folder, a glob, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)"
    )]
    Missing {
        /// The path as configured.
        path: String,
    },
    /// A folder or glob has no file that can be read.
    #[error(
        "no text in `{path}`: none of its files ends in .txt, .jsonl or .json (also with .gz or .zst), or in .idx"
    )]
    NoFiles {
        /// The path as configured.
        path: String,
    },
    /// A file named on its own is of no known kind.
    #[error(
        "`{path}` is of no known kind: expected .txt, .jsonl or .json (also with .gz or .zst), or token shards (.bin and .idx)"
    )]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// A folder or glob has both text and token shards.
    #[error("`{path}` holds both text and token shards: make two sources of them")]
    MixedKinds {
        /// The path as configured.
        path: String,
    },
    /// Text is needed where the path leads to token shards.
    #[error("`{path}` is token shards already: there is no text to prepare")]
    AlreadyShards {
        /// The path as configured.
        path: String,
    },
    /// There are files, but no text in them.
    #[error("`{path}` is empty: there is no text in its {files} file(s)")]
    Empty {
        /// The path as configured.
        path: String,
        /// How many files there are.
        files: usize,
    },
    /// Text that is not UTF-8.
    #[error("`{path}`: invalid UTF-8 at byte {offset}{}: convert the file to UTF-8", at_line(*line))]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// 0-based offset of the first bad byte, in the decompressed text.
        offset: u64,
        /// 1-based line, where the file is read by lines.
        line: Option<u64>,
    },
    /// A line of a JSONL file that is not a JSON object.
    #[error("`{path}` line {line}: not a JSON object: {message}")]
    NotJson {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// What the parser says.
        message: String,
    },
    /// A JSONL record without the configured field.
    #[error("`{path}` line {line}: no field `{field}`; the record has {found}{hint}")]
    MissingField {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// The field that was looked for.
        field: String,
        /// The fields that exist.
        found: String,
        /// The nearest of them.
        hint: String,
    },
    /// A JSONL record whose field is not a string.
    #[error("`{path}` line {line}: field `{field}` is {found}, not a string")]
    FieldNotText {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// The field.
        field: String,
        /// What it is.
        found: &'static str,
    },
    /// A compressed file that ends early or is corrupt.
    #[error("`{path}` is damaged or cut off: {message} (after {offset} bytes of text)")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Bytes decompressed before the damage.
        offset: u64,
        /// What the decompressor says.
        message: String,
    },
    /// A tokenizer file that cannot be used.
    #[error("`{path}` is not a tokenizer that can be used: {message}")]
    BadTokenizer {
        /// The file.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// BOS or EOS is asked for, but the tokenizer has none.
    #[error(
        "`tokenizer.{key}` is true, but `{path}` has no {token} token: set it to false, or name one in tokenizer_config.json"
    )]
    NoMark {
        /// `add_bos` or `add_eos`.
        key: &'static str,
        /// `BOS` or `EOS`.
        token: &'static str,
        /// The tokenizer.
        path: PathBuf,
    },
    /// No tokenizer is given and none can be trained.
    #[error(
        "`tokenizer.path` is needed: source `{name}` is token ids already, from which no tokenizer can be trained"
    )]
    NoTokenizer {
        /// The source.
        name: String,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed: {message}")]
    Tokenize {
        /// Why.
        message: String,
    },
    /// A shard whose index is not Megatron's.
    #[error("`{path}` is not a Megatron index: {message}")]
    NotShard {
        /// The `.idx` file.
        path: PathBuf,
        /// What was found.
        message: String,
    },
    /// A shard whose file is shorter or longer than its index says.
    #[error("`{path}` is cut off or foreign: {found} bytes, but its index describes {expected}")]
    TornShard {
        /// The `.bin` or `.idx` file.
        path: PathBuf,
        /// Bytes that the index describes.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// A document too long for the shard format.
    #[error("a document of {tokens} tokens does not fit the shard format, whose limit is 2^31 - 1")]
    LongDocument {
        /// Its length.
        tokens: usize,
    },
    /// Shards made with another tokenizer than the one in use.
    #[error(
        "`{path}` was made with another tokenizer ({made_with}) than the one in use ({in_use}): prepare the text again, or \
         delete the file if both give the same ids"
    )]
    OtherTokenizer {
        /// The shard's `.fineline.json`.
        path: PathBuf,
        /// Fingerprint of the tokenizer of the shard.
        made_with: String,
        /// Fingerprint of the tokenizer in use.
        in_use: String,
    },
    /// Shards whose documents carry other marks than the run puts around its documents.
    #[error(
        "`{path}` was made with {made_with} around each document, but this run has {in_use}: {}, or prepare the text again",
        marks_hint(*made_with, *in_use)
    )]
    OtherMarks {
        /// The shard's `.fineline.json`.
        path: PathBuf,
        /// The marks in the shard.
        made_with: Marks,
        /// The marks of the run.
        in_use: Marks,
    },
    /// A path of chunks that leads nowhere.
    #[error("nothing at `{path}`: expected a folder of chunks")]
    NoChunks {
        /// The path as configured.
        path: PathBuf,
    },
    /// A folder of chunks without one of those that are to be trained on.
    #[error(
        "`{folder}` has no chunk {number}: expected `train_{number:03}.jsonl` (or .jsonl.gz, .jsonl.zst); put it there, or list its \
         number in `data.chunks.skip`"
    )]
    MissingChunk {
        /// The folder.
        folder: PathBuf,
        /// The chunk's number.
        number: u64,
    },
    /// Two files that both claim to be one chunk.
    #[error("`{first}` and `{second}` are both chunk {number}: remove one of them")]
    TwiceTheChunk {
        /// The one.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The number of both.
        number: u64,
    },
    /// A chunk without a row.
    #[error(
        "`{path}` is empty: there is no row in it; fetch it again, or list its number in `data.chunks.skip`"
    )]
    EmptyChunk {
        /// The file.
        path: PathBuf,
    },
    /// A chunk that doesn't fill a batch.
    #[error(
        "`{path}` has {rows} rows, fewer than one batch (train.global_batch_size is {batch}), so that none of them would be trained on: fetch it \
         again, list its number in `data.chunks.skip`, or lower `train.global_batch_size`"
    )]
    SmallChunk {
        /// The file.
        path: PathBuf,
        /// Its rows.
        rows: u64,
        /// Rows of a batch.
        batch: u64,
    },
    /// A line of a chunk that is no row.
    #[error("`{path}` line {line}: not a row {{\"token_ids\": [...]}}: {message}")]
    BadRow {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// What the parser says.
        message: String,
    },
    /// A row of another length.
    #[error("`{path}` line {line}: {found} token ids, but rows have {expected} (data.seq_len + 1)")]
    RowLength {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// Ids in the row.
        found: usize,
        /// Ids that a row has.
        expected: usize,
    },
    /// A row with an id that the tokenizer doesn't have.
    #[error(
        "`{path}` line {line}: token id {id}, but the tokenizer has {ids} ids: these rows were made with another one"
    )]
    RowId {
        /// The file.
        path: PathBuf,
        /// 1-based.
        line: u64,
        /// The id.
        id: u32,
        /// Ids that the tokenizer has.
        ids: usize,
    },
    /// A source that doesn't give each chunk a row.
    #[error(
        "{rows} rows, {validation} of them kept out of training, are fewer than one for each of {chunks} chunks: add text, or make \
         fewer chunks"
    )]
    FewRows {
        /// Rows that there are.
        rows: u64,
        /// Those of them that are not to be trained on.
        validation: u64,
        /// Chunks to be filled.
        chunks: u64,
    },
    /// A folder with chunks that were made of something else.
    #[error(
        "`{folder}` holds chunks of another text, tokenizer or setting: give these a folder of their own, or remove it"
    )]
    OtherChunks {
        /// The folder.
        folder: PathBuf,
    },
    /// Another process makes chunks in the folder.
    #[error("`{folder}`: another process makes chunks in this folder")]
    ChunksLocked {
        /// The folder.
        folder: PathBuf,
    },
    /// Too little text for a single row.
    #[error(
        "{tokens} tokens of training text are less than one row of {needed}: add text, or lower `data.seq_len`"
    )]
    TooSmall {
        /// Tokens that there are.
        tokens: u64,
        /// Tokens of a row: `seq_len` + 1.
        needed: u64,
    },
}

impl DataError {
    /// The same error, said of one source of the mixture.
    pub(crate) fn in_source(self, name: &str) -> Self {
        Self::Source { name: name.to_owned(), error: Box::new(self) }
    }
}

impl Classified for DataError {
    fn class(&self) -> ErrorClass {
        match self {
            Self::Source { error, .. } => error.class(),
            Self::Config { .. }
            | Self::NoMark { .. }
            | Self::NoTokenizer { .. }
            | Self::OtherMarks { .. } => ErrorClass::Configuration,
            _ => ErrorClass::Environment,
        }
    }
}

/// The result of everything in this crate that can fail.
pub type Result<T, E = DataError> = std::result::Result<T, E>;

/// The keys that make a run's marks those of a shard.
fn marks_hint(made_with: Marks, in_use: Marks) -> String {
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
