//! Tokenization of text into shards.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::config::SourceConfig;
use crate::corpus::SourceData;
use crate::error::{DataError, Result};
use crate::paths::info_path;
use crate::progress::PreparationProgress;
use crate::shards::ShardInfo;
use crate::shards::{Shard, ShardWriter};
use crate::text::TextSource;
use crate::tokenizer::Tokenizer;

/// Version of the shards. Changed when the same text and tokenizer would result in different shards.
const VERSION: &[u8] = b"fineline shards 1";

/// Tokenizes the text of a source into the shard `PREFIX.bin`, `PREFIX.idx` and `PREFIX.fineline.json`, and
/// replaces existing files.
///
/// Documents are tokenized in parallel and written in order, so the bytes depend only on the text and the
/// tokenizer. The shard appears when it is complete. Memory is bounded by the longest documents.
///
/// # Errors
/// [`DataError::Source`] around one of these: [`DataError::AlreadyTokenized`] if the source contains token
/// shards, an error of its text (such as [`DataError::NotUtf8`] or [`DataError::MissingField`]),
/// [`DataError::Tokenize`], or [`DataError::Io`] if a file cannot be read or written.
pub fn prepare(
    source: &SourceConfig,
    tokenizer: &Tokenizer,
    prefix: &Path,
    progress: &mut dyn FnMut(&PreparationProgress),
) -> Result<ShardInfo> {
    let in_source = |error: DataError| error.in_source(&source.name);
    let already = || DataError::AlreadyTokenized { path: source.path.clone() };
    let text = TextSource::open(source).and_then(|text| text.ok_or_else(already)).map_err(in_source)?;
    let preparation = ShardPreparation { name: &source.name, text: &text, tokenizer, prefix };
    preparation.run(progress).map_err(in_source)
}

/// Returns the prefixes of the shards of a source. Text is first tokenized into the cache, unless it is there
/// already.
pub(crate) fn shards_of(
    (source, data): (&SourceConfig, &SourceData),
    tokenizer: &Tokenizer,
    cache: &Path,
    progress: &mut dyn FnMut(&PreparationProgress),
) -> Result<Vec<PathBuf>> {
    match data {
        SourceData::Shards(prefixes) => {
            for prefix in prefixes {
                if let Some(info) = ShardInfo::read(prefix)? {
                    info.check(prefix, tokenizer)?;
                }
            }
            Ok(prefixes.clone())
        }
        SourceData::Text(text) => {
            let prefix = cache.join(cache_name(&source.name, text.fingerprint()?, tokenizer));
            if !is_whole(&prefix) {
                let preparation = ShardPreparation { name: &source.name, text, tokenizer, prefix: &prefix };
                preparation.run(progress)?;
            }
            Ok(vec![prefix])
        }
    }
}

/// Returns the name of a shard in the cache: the name of the source and a hash of everything that determines
/// the bytes.
fn cache_name(source: &str, text: &str, tokenizer: &Tokenizer) -> String {
    let boundary = tokenizer.boundary_tokens();
    let key = format!("{text} {} {:?} {:?}", tokenizer.fingerprint(), boundary.bos, boundary.eos);
    let key = blake3::Hasher::new().update(VERSION).update(key.as_bytes()).finalize().to_hex();
    let plain = |c: char| if c.is_alphanumeric() || c == '-' { c } else { '_' };
    format!("{}-{}", source.chars().map(plain).collect::<String>(), &key[..16])
}

fn is_whole(prefix: &Path) -> bool {
    if !info_path(prefix).is_file() {
        return false;
    }
    let whole = ShardInfo::read(prefix).and_then(|_| Shard::open(prefix));
    if let Err(error) = &whole {
        tracing::warn!("making a damaged shard of the cache again: {error}");
    }
    whole.is_ok()
}

/// Tokenization of one source.
struct ShardPreparation<'a> {
    name: &'a str,
    text: &'a TextSource,
    tokenizer: &'a Tokenizer,
    prefix: &'a Path,
}

impl ShardPreparation<'_> {
    fn run(&self, progress: &mut dyn FnMut(&PreparationProgress)) -> Result<ShardInfo> {
        let text = self.text.fingerprint()?.to_owned();
        let mut writer = ShardWriter::create(self.prefix, self.tokenizer.vocab_size())?;
        let text_bytes = self.write_documents(&mut writer, progress)?;
        // Without this file, the shard counts as incomplete.
        let info_path = info_path(self.prefix);
        if info_path.is_file() {
            fs_err::remove_file(info_path)?;
        }
        let written = writer.finish()?;
        let boundary = self.tokenizer.boundary_tokens();
        let info = ShardInfo {
            documents: written.documents,
            tokens: written.tokens,
            text_bytes,
            max_token_id: written.max_token_id,
            bos: boundary.bos,
            eos: boundary.eos,
            tokenizer: self.tokenizer.fingerprint().to_owned(),
            text,
        };
        info.write(self.prefix)?;
        Ok(info)
    }

    /// Tokenizes one batch after another, each in parallel, and returns the number of bytes of text.
    fn write_documents(
        &self,
        writer: &mut ShardWriter,
        progress: &mut dyn FnMut(&PreparationProgress),
    ) -> Result<u64> {
        let total_bytes = self.text.file_bytes()?;
        let mut documents = self.text.documents();
        let mut text_bytes = 0;
        loop {
            let batch = documents.next_batch()?;
            if batch.is_empty() {
                return Ok(text_bytes);
            }
            let encode = |document: &String| self.tokenizer.encode_document(document);
            let encoded: Vec<_> = batch.par_iter().map(encode).collect();
            encoded.into_iter().try_for_each(|document| writer.push(&document?))?;
            text_bytes += batch.iter().map(|document| document.len() as u64).sum::<u64>();
            progress(&PreparationProgress {
                source: self.name,
                bytes: documents.bytes_read(),
                total_bytes,
                documents: writer.documents(),
                tokens: writer.tokens(),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{source, tiny_tokenizer};

    #[test]
    fn the_same_text_gives_the_same_bytes_on_any_number_of_threads() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = tiny_tokenizer(dir.path());
        let path = dir.path().join("t.jsonl");
        let lines: Vec<String> = (0..3000).map(|i| format!("{{\"text\": \"story {i} 故事\"}}\n")).collect();
        fs_err::write(&path, lines.concat()).unwrap();
        let made = [1, 2, 7].map(|threads| {
            let prefix = dir.path().join(format!("out-{threads}"));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut last = 0;
            let info = pool
                .install(|| prepare(&source("s", &path), &tokenizer, &prefix, &mut |p| last = p.documents))
                .unwrap();
            assert_eq!((last, info.documents), (3000, 3000));
            let bin = fs_err::read(crate::paths::with_suffix(&prefix, ".bin")).unwrap();
            (bin, fs_err::read(crate::paths::with_suffix(&prefix, ".idx")).unwrap(), info)
        });
        assert_eq!(made[0], made[1]);
        assert_eq!(made[0], made[2]);
        let (bin, _, info) = &made[0];
        assert_eq!(bin.len() as u64, info.tokens * 2);
        assert_eq!(info.text_bytes, (0..3000).map(|i| format!("story {i} 故事").len() as u64).sum::<u64>());
    }

    #[test]
    fn the_cache_is_used_until_something_changes_or_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = tiny_tokenizer(dir.path());
        let (path, cache) = (dir.path().join("t.txt"), dir.path().join("cache"));
        fs_err::write(&path, "some text").unwrap();
        let made = |tokenizer: &Tokenizer| {
            let mut steps = 0;
            let source = source("a/b", &path);
            let found = SourceData::of(&source).unwrap();
            let prefixes = shards_of((&source, &found), tokenizer, &cache, &mut |_| steps += 1).unwrap();
            (steps, prefixes)
        };
        let (first, prefixes) = made(&tokenizer);
        assert_eq!((first, made(&tokenizer)), (1, (0, prefixes.clone())));
        let no_bos = crate::TokenizerConfig { add_bos: false, ..Default::default() };
        assert_eq!(made(&tokenizer.with_policy(&no_bos).unwrap()).0, 1);
        fs_err::write(crate::paths::with_suffix(&prefixes[0], ".bin"), "x").unwrap();
        assert_eq!(made(&tokenizer), (1, prefixes.clone()));
        fs_err::write(&path, "some tex.").unwrap();
        let (steps, others) = made(&tokenizer);
        assert!(steps == 1 && others != prefixes);
    }

    #[test]
    fn an_error_in_the_text_leaves_no_shard() {
        let dir = tempfile::tempdir().unwrap();
        let tokenizer = tiny_tokenizer(dir.path());
        let path = dir.path().join("t.jsonl");
        fs_err::write(&path, "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n").unwrap();
        let prefix = dir.path().join("out/s");
        let error = prepare(&source("web", &path), &tokenizer, &prefix, &mut |_| ()).unwrap_err();
        let message = error.to_string().replace(dir.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(message, @r"
        data source `web`: `DIR/t.jsonl` line 2: no field `text`; the record has `txt`; did you mean `txt`?
        ");
        assert_eq!(fs_err::read_dir(dir.path().join("out")).unwrap().count(), 0);
    }
}
