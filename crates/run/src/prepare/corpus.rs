//! The text of a run, including that of the generated world.

use std::io::Write;
use std::path::{Path, PathBuf};

use fineline_data::{Corpus, DataConfig};
use fineline_files::AtomicFile;
use fineline_tinyworld::World;
use serde_json::json;

use crate::config::RunConfig;
use crate::error::RunError;
use crate::progress::RunProgress;

/// The path by which a mix names the text of the generated world.
pub const TINYWORLD: &str = "tinyworld";

/// Returns the files of all sources, with every `path = "tinyworld"` replaced by the generated corpus.
pub(super) fn find_corpus(
    config: &RunConfig,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<Corpus, RunError> {
    let mut data: DataConfig = config.data.clone();
    for source in data.mix.iter_mut().filter(|source| source.path == TINYWORLD) {
        progress(RunProgress::Preparing("generated world"));
        let corpus = generate_corpus(config, &data.cache_dir)?;
        source.path = corpus.to_string_lossy().into_owned();
        "text".clone_into(&mut source.field);
    }
    Ok(Corpus::find(&data)?)
}

/// Number of documents that identify a corpus. It is large enough for every kind of document to occur many
/// times.
const SAMPLED_DOCUMENTS: u64 = 1000;

/// Writes the text of the world into the cache, unless it exists. Its name has a fingerprint of the first
/// documents, so that a changed generator writes another file.
fn generate_corpus(config: &RunConfig, cache: &Path) -> Result<PathBuf, RunError> {
    let world = World::new(&config.tinyworld);
    let documents = config.tinyworld.documents;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&config.tinyworld.seed.to_le_bytes()).update(&documents.to_le_bytes());
    for index in 0..documents.min(SAMPLED_DOCUMENTS) {
        hasher.update(world.document(index).as_bytes());
    }
    let path = cache.join(format!("tinyworld-{}.jsonl", &hasher.finalize().to_hex()[..16]));
    if path.exists() {
        return Ok(path);
    }
    let mut file = AtomicFile::create(&path)?;
    for index in 0..documents {
        writeln!(file, "{}", json!({ "text": world.document(index) }))?;
    }
    file.commit()?;
    Ok(path)
}
