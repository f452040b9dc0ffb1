use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::shards::info_path;
use crate::{DataError, Result};

/// What a source's path leads to.
#[derive(Debug)]
pub(crate) enum Located {
    Text(Vec<TextFile>),
    /// Prefixes: `PREFIX.bin` and `PREFIX.idx` belong together.
    Shards(Vec<PathBuf>),
}

/// One file of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TextFile {
    pub(crate) path: PathBuf,
    pub(crate) layout: Layout,
    pub(crate) compression: Compression,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The whole file is one document.
    Plain,
    /// One JSON object a line.
    Jsonl,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    /// A file name in small letters without the ending that says how the file is compressed.
    pub(crate) fn of(name: &str) -> (&str, Self) {
        let endings = [(".gz", Self::Gzip), (".zst", Self::Zstd)];
        let stripped = |(ending, compression)| Some((name.strip_suffix(ending)?, compression));
        endings.into_iter().find_map(stripped).unwrap_or((name, Self::None))
    }
}

impl TextFile {
    /// The file's kind by its name, or `None` if it is not text.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let (name, compression) = Compression::of(&name);
        let layout = match Path::new(name).extension()?.to_str()? {
            "txt" => Layout::Plain,
            "jsonl" | "json" => Layout::Jsonl,
            _ => return None,
        };
        Some(Self { path: path.to_owned(), layout, compression })
    }

    /// How the bytes are to be read, for fingerprints.
    pub(crate) fn kind(&self) -> String {
        format!("{:?}/{:?}", self.layout, self.compression)
    }
}

/// Finds the files that a source's path names: itself, all below it, or all that match it.
pub(crate) fn locate(spec: &str) -> Result<Located> {
    let path = Path::new(spec);
    if let Some(prefix) = shard_prefix(path) {
        return Ok(Located::Shards(vec![prefix]));
    }
    if path.is_file() {
        let file = TextFile::of(path).ok_or_else(|| DataError::UnknownKind { path: path.to_owned() })?;
        return Ok(Located::Text(vec![file]));
    }
    let mut paths = Vec::new();
    if path.is_dir() {
        walk(path, &mut paths)?;
    } else {
        expand(spec, &mut paths)?;
    }
    paths.sort_by(|a, b| natural(&a.to_string_lossy(), &b.to_string_lossy()));
    sort_out(spec, &paths)
}

/// The prefix of the shards that `path` names: as a prefix, or by one of its two files.
fn shard_prefix(path: &Path) -> Option<PathBuf> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("bin" | "idx") if path.is_file() => Some(path.with_extension("")),
        _ => with_suffix(path, ".idx").is_file().then(|| path.to_owned()),
    }
}

/// `path` with `suffix` put behind its name, whatever dots that has.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// All files below `folder`, except hidden ones. Links to folders are not followed: they may lead in circles.
fn walk(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
        } else if path.is_file() {
            found.push(path);
        }
    }
    Ok(())
}

fn expand(pattern: &str, found: &mut Vec<PathBuf>) -> Result<()> {
    let missing = || DataError::Missing { path: pattern.to_owned() };
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    for path in glob::glob_with(pattern, options).map_err(|_| missing())? {
        let path = path.map_err(std::io::Error::from)?;
        if path.is_dir() {
            walk(&path, found)?;
        } else {
            found.push(path);
        }
    }
    if found.is_empty() { Err(missing()) } else { Ok(()) }
}

fn sort_out(spec: &str, paths: &[PathBuf]) -> Result<Located> {
    let is_index = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "idx");
    let shards: Vec<PathBuf> = paths.iter().filter(is_index).map(|path| path.with_extension("")).collect();
    // What `data prepare` writes beside a shard looks like text, but says what the shard is.
    let infos: BTreeSet<PathBuf> = shards.iter().map(|prefix| info_path(prefix)).collect();
    let texts: Vec<TextFile> =
        paths.iter().filter(|path| !infos.contains(*path)).filter_map(|path| TextFile::of(path)).collect();
    match (texts.is_empty(), shards.is_empty()) {
        (false, true) => Ok(Located::Text(texts)),
        (true, false) => Ok(Located::Shards(shards)),
        (true, true) => Err(DataError::NoFiles { path: spec.to_owned() }),
        (false, false) => Err(DataError::MixedKinds { path: spec.to_owned() }),
    }
}

/// Order in which numbers within names count as numbers; ties (`1` and `01`) fall back to plain order.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut x, mut y) = (a.as_bytes(), b.as_bytes());
    while let (Some(first), Some(second)) = (x.first(), y.first()) {
        let order = if first.is_ascii_digit() && second.is_ascii_digit() {
            let (m, n) = (take_number(&mut x), take_number(&mut y));
            m.len().cmp(&n.len()).then_with(|| m.cmp(n))
        } else {
            let order = first.cmp(second);
            (x, y) = (&x[1..], &y[1..]);
            order
        };
        if order.is_ne() {
            return order;
        }
    }
    x.len().cmp(&y.len()).then_with(|| a.cmp(b))
}

/// Splits the leading digits off, without leading zeros.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = text.split_at(digits);
    *text = rest;
    let zeros = number.iter().take_while(|&&byte| byte == b'0').count();
    &number[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn make(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "x").unwrap();
        }
        folder
    }

    fn names(located: Located, folder: &Path) -> Vec<String> {
        let paths = match located {
            Located::Text(files) => files.into_iter().map(|file| file.path).collect(),
            Located::Shards(prefixes) => prefixes,
        };
        paths.iter().map(|path| path.strip_prefix(folder).unwrap().to_string_lossy().into_owned()).collect()
    }

    fn found(folder: &Path, spec: &str) -> Result<Vec<String>> {
        Ok(names(locate(&folder.join(spec).to_string_lossy())?, folder))
    }

    #[test]
    fn folders_globs_and_shards_are_found_in_natural_order() {
        let folder = make(&[
            "t/part-10.txt",
            "t/part-2.jsonl.gz",
            "t/deep/a.TXT.zst",
            "t/.hidden.txt",
            "t/read.me",
            "s/b.idx",
            "s/b.bin",
            "s/b.fineline.json",
            "s/a.v1.idx",
            "s/a.v1.bin",
            "s/a.v1.fineline.json",
        ]);
        let find = |spec| found(folder.path(), spec).unwrap();
        assert_eq!(find("t"), ["t/deep/a.TXT.zst", "t/part-2.jsonl.gz", "t/part-10.txt"]);
        assert_eq!(find("t/*.txt"), ["t/part-10.txt"]);
        assert_eq!(find("t/part-10.txt"), ["t/part-10.txt"]);
        assert_eq!(find("s"), ["s/a.v1", "s/b"]);
        assert_eq!(find("s/*"), ["s/a.v1", "s/b"]);
        assert_eq!(find("s/b*"), ["s/b"]);
        for spec in ["s/a.v1", "s/a.v1.bin", "s/a.v1.idx"] {
            assert_eq!(find(spec), ["s/a.v1"]);
        }
    }

    #[test]
    fn what_cannot_be_found_is_said() {
        let folder = make(&["t/a.txt", "none/a.pdf", "mixed/a.txt", "mixed/b.idx"]);
        let errors = ["gone", "none", "mixed", "none/a.pdf", "t/*.md", "["]
            .map(|spec| found(folder.path(), spec).unwrap_err().to_string())
            .join("\n")
            .replace(folder.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(errors, @r"
        nothing at `DIR/gone`: expected a text file, a folder, a glob, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
        no text in `DIR/none`: none of its files ends in .txt, .jsonl or .json (also with .gz or .zst), or in .idx
        `DIR/mixed` holds both text and token shards: make two sources of them
        `DIR/none/a.pdf` is of no known kind: expected .txt, .jsonl or .json (also with .gz or .zst), or token shards (.bin and .idx)
        nothing at `DIR/t/*.md`: expected a text file, a folder, a glob, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
        nothing at `DIR/[`: expected a text file, a folder, a glob, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
        ");
    }

    proptest! {
        #[test]
        fn natural_order_is_an_order(a in "[a0-9]{0,6}", b in "[a0-9]{0,6}", c in "[a0-9]{0,6}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            prop_assert_eq!(natural(&a, &b).is_eq(), a == b);
            if natural(&a, &b).is_le() && natural(&b, &c).is_le() {
                prop_assert!(natural(&a, &c).is_le());
            }
        }
    }
}
