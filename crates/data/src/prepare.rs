//! Text to token shards.

use std::path::{Path, PathBuf};

use rayon::prelude::*;

use crate::corpus::Found;
use crate::shards::{Shard, ShardWriter, info_path};
use crate::text::TextDocuments;
use crate::{DataError, Result, ShardInfo, SourceConfig, TextSource, Tokenizer};

/// Changes when the same text and tokenizer would give other shards.
const VERSION: &[u8] = b"fineline shards 1";

/// Text that is in memory at once, for each thread.
const BATCH_BYTES: usize = 1 << 20;

/// How far the tokenization of a source is.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
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

/// Tokenizes a source of text into the shard `PREFIX.bin`, `PREFIX.idx` and `PREFIX.fineline.json`, replacing what is there.
///
/// Documents are tokenized in parallel and written in their order, so the bytes depend on the text and the tokenizer only. The
/// shard appears when it is whole. Memory is bounded by the longest documents.
pub fn prepare(
    source: &SourceConfig,
    tokenizer: &Tokenizer,
    prefix: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<ShardInfo> {
    let in_source = |error: DataError| error.in_source(&source.name);
    let already = || DataError::AlreadyShards { path: source.path.clone() };
    let text = TextSource::open(source).and_then(|text| text.ok_or_else(already)).map_err(in_source)?;
    let job = Job { name: &source.name, text: &text, tokenizer, prefix };
    job.run(progress).map_err(in_source)
}

/// The prefixes of a source's shards; text is tokenized into the cache first, unless it is there already.
pub(crate) fn shards_of(
    (source, found): (&SourceConfig, &Found),
    tokenizer: &Tokenizer,
    cache: &Path,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<PathBuf>> {
    match found {
        Found::Shards(prefixes) => {
            for prefix in prefixes {
                if let Some(info) = ShardInfo::read(prefix)? {
                    info.check(prefix, tokenizer)?;
                }
            }
            Ok(prefixes.clone())
        }
        Found::Text(text) => {
            let prefix = cache.join(cache_name(&source.name, text.fingerprint()?, tokenizer));
            if !is_whole(&prefix) {
                let job = Job { name: &source.name, text, tokenizer, prefix: &prefix };
                job.run(progress)?;
            }
            Ok(vec![prefix])
        }
    }
}

/// A name that says what the shard is of, with the key of everything that decides its bytes.
fn cache_name(source: &str, text: &str, tokenizer: &Tokenizer) -> String {
    let marks = tokenizer.marks();
    let key = format!("{text} {} {:?} {:?}", tokenizer.fingerprint(), marks.bos, marks.eos);
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

/// One source on its way to a shard.
struct Job<'a> {
    name: &'a str,
    text: &'a TextSource,
    tokenizer: &'a Tokenizer,
    prefix: &'a Path,
}

impl Job<'_> {
    fn run(&self, progress: &mut dyn FnMut(&Progress)) -> Result<ShardInfo> {
        let text = self.text.fingerprint()?.to_owned();
        let mut writer = ShardWriter::create(self.prefix, self.tokenizer.vocab_size())?;
        let text_bytes = self.write_documents(&mut writer, progress)?;
        // Until the new information is written, the shard does not count as whole.
        let info_path = info_path(self.prefix);
        if info_path.is_file() {
            fs_err::remove_file(info_path)?;
        }
        let written = writer.finish()?;
        let marks = self.tokenizer.marks();
        let info = ShardInfo {
            documents: written.documents,
            tokens: written.tokens,
            text_bytes,
            max_token_id: written.max_token_id,
            bos: marks.bos,
            eos: marks.eos,
            tokenizer: self.tokenizer.fingerprint().to_owned(),
            text,
        };
        info.write(self.prefix)?;
        Ok(info)
    }

    /// Tokenizes batch by batch, each in parallel; returns the bytes of text.
    fn write_documents(&self, writer: &mut ShardWriter, progress: &mut dyn FnMut(&Progress)) -> Result<u64> {
        let total_bytes = self.text.file_bytes()?;
        let mut documents = self.text.documents();
        let mut text_bytes = 0;
        loop {
            let batch = next_batch(&mut documents)?;
            if batch.is_empty() {
                return Ok(text_bytes);
            }
            let encode = |document: &String| self.tokenizer.encode_document(document);
            let encoded: Vec<_> = batch.par_iter().map(encode).collect();
            encoded.into_iter().try_for_each(|document| writer.push(&document?))?;
            text_bytes += batch.iter().map(|document| document.len() as u64).sum::<u64>();
            progress(&Progress {
                source: self.name,
                bytes: documents.bytes_read(),
                total_bytes,
                documents: writer.documents(),
                tokens: writer.tokens(),
            });
        }
    }
}

/// The next documents, about as many as are worth tokenizing in parallel; none at the end.
pub(crate) fn next_batch(documents: &mut TextDocuments) -> Result<Vec<String>> {
    let wanted = BATCH_BYTES * rayon::current_num_threads();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < wanted {
        let Some(document) = documents.next().transpose()? else { break };
        bytes += document.len();
        batch.push(document);
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{source, tiny_tokenizer};

    #[test]
    fn the_same_text_gives_the_same_bytes_on_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tiny_tokenizer(folder.path());
        let path = folder.path().join("t.jsonl");
        let lines: Vec<String> = (0..3000).map(|i| format!("{{\"text\": \"story {i} 故事\"}}\n")).collect();
        fs_err::write(&path, lines.concat()).unwrap();
        let made = [1, 2, 7].map(|threads| {
            let prefix = folder.path().join(format!("out-{threads}"));
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let mut last = 0;
            let info = pool
                .install(|| prepare(&source("s", &path), &tokenizer, &prefix, &mut |p| last = p.documents))
                .unwrap();
            assert_eq!((last, info.documents), (3000, 3000));
            let bin = fs_err::read(crate::text::with_suffix(&prefix, ".bin")).unwrap();
            (bin, fs_err::read(crate::text::with_suffix(&prefix, ".idx")).unwrap(), info)
        });
        assert_eq!(made[0], made[1]);
        assert_eq!(made[0], made[2]);
        let (bin, _, info) = &made[0];
        assert_eq!(bin.len() as u64, info.tokens * 2);
        assert_eq!(info.text_bytes, (0..3000).map(|i| format!("story {i} 故事").len() as u64).sum::<u64>());
    }

    #[test]
    fn the_cache_is_used_until_something_changes_or_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tiny_tokenizer(folder.path());
        let (path, cache) = (folder.path().join("t.txt"), folder.path().join("cache"));
        fs_err::write(&path, "some text").unwrap();
        let made = |tokenizer: &Tokenizer| {
            let mut steps = 0;
            let source = source("a/b", &path);
            let found = Found::of(&source).unwrap();
            let prefixes = shards_of((&source, &found), tokenizer, &cache, &mut |_| steps += 1).unwrap();
            (steps, prefixes)
        };
        let (first, prefixes) = made(&tokenizer);
        assert_eq!((first, made(&tokenizer)), (1, (0, prefixes.clone())));
        let no_bos = crate::TokenizerConfig { add_bos: false, ..Default::default() };
        assert_eq!(made(&tokenizer.with_policy(&no_bos).unwrap()).0, 1);
        fs_err::write(crate::text::with_suffix(&prefixes[0], ".bin"), "x").unwrap();
        assert_eq!(made(&tokenizer), (1, prefixes.clone()));
        fs_err::write(&path, "some tex.").unwrap();
        let (steps, others) = made(&tokenizer);
        assert!(steps == 1 && others != prefixes);
    }

    #[test]
    fn an_error_in_the_text_leaves_no_shard() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = tiny_tokenizer(folder.path());
        let path = folder.path().join("t.jsonl");
        fs_err::write(&path, "{\"text\": \"a\"}\n{\"txt\": \"b\"}\n").unwrap();
        let prefix = folder.path().join("out/s");
        let error = prepare(&source("web", &path), &tokenizer, &prefix, &mut |_| ()).unwrap_err();
        let message = error.to_string().replace(folder.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(message, @r"
        data source `web`: `DIR/t.jsonl` line 2: no field `text`; the record has `txt`; did you mean `txt`?
        ");
        assert_eq!(fs_err::read_dir(folder.path().join("out")).unwrap().count(), 0);
    }
}
