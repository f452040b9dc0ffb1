//! Resolution of the path of a source to files.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::error::{DataError, Result};
use crate::paths::{info_path, with_suffix};
use crate::text::files::TextFile;

/// Files that the path of a source leads to.
#[derive(Debug)]
pub(crate) enum LocatedFiles {
    Text(Vec<TextFile>),
    /// Prefixes of token shards: `PREFIX.bin` and `PREFIX.idx` belong together.
    Shards(Vec<PathBuf>),
}

/// Finds the files of a source: the file at its path, all files below a directory, or all files that match a
/// pattern.
pub(crate) fn locate(spec: &str) -> Result<LocatedFiles> {
    let path = Path::new(spec);
    if let Some(prefix) = shard_prefix(path) {
        return Ok(LocatedFiles::Shards(vec![prefix]));
    }
    if path.is_file() {
        let file = TextFile::of(path).ok_or_else(|| DataError::UnknownFileType { path: path.to_owned() })?;
        return Ok(LocatedFiles::Text(vec![file]));
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

/// Returns the prefix of the shard that `path` names as a prefix or by one of its two files.
fn shard_prefix(path: &Path) -> Option<PathBuf> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    match extension {
        Some("bin" | "idx") if path.is_file() => Some(path.with_extension("")),
        _ => with_suffix(path, ".idx").is_file().then(|| path.to_owned()),
    }
}

/// Collects all files below a directory, except for hidden ones. Links to directories are not followed,
/// because they may form cycles.
fn walk(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs_err::read_dir(dir)? {
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
    let missing = || DataError::PathNotFound { path: pattern.to_owned() };
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

fn sort_out(spec: &str, paths: &[PathBuf]) -> Result<LocatedFiles> {
    let is_index = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "idx");
    let shards: Vec<PathBuf> = paths.iter().filter(is_index).map(|path| path.with_extension("")).collect();
    // The information file of a shard looks like text.
    let infos: BTreeSet<PathBuf> = shards.iter().map(|prefix| info_path(prefix)).collect();
    let texts: Vec<TextFile> =
        paths.iter().filter(|path| !infos.contains(*path)).filter_map(|path| TextFile::of(path)).collect();
    match (texts.is_empty(), shards.is_empty()) {
        (false, true) => Ok(LocatedFiles::Text(texts)),
        (true, false) => Ok(LocatedFiles::Shards(shards)),
        (true, true) => Err(DataError::NoFiles { path: spec.to_owned() }),
        (false, false) => Err(DataError::MixedSource { path: spec.to_owned() }),
    }
}

/// Compares names such that numbers within them are ordered by value. Ties (`1` and `01`) are broken by plain
/// order.
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

/// Splits off the leading digits and returns them without leading zeros.
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
        let dir = tempfile::tempdir().unwrap();
        for name in names {
            let path = dir.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "x").unwrap();
        }
        dir
    }

    fn names(located: LocatedFiles, dir: &Path) -> Vec<String> {
        let paths = match located {
            LocatedFiles::Text(files) => files.into_iter().map(|file| file.path).collect(),
            LocatedFiles::Shards(prefixes) => prefixes,
        };
        paths.iter().map(|path| path.strip_prefix(dir).unwrap().to_string_lossy().into_owned()).collect()
    }

    fn found(dir: &Path, spec: &str) -> Result<Vec<String>> {
        Ok(names(locate(&dir.join(spec).to_string_lossy())?, dir))
    }

    #[test]
    fn directories_globs_and_shards_are_found_in_natural_order() {
        let dir = make(&[
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
        let find = |spec| found(dir.path(), spec).unwrap();
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
        let dir = make(&["t/a.txt", "none/a.pdf", "mixed/a.txt", "mixed/b.idx"]);
        let errors = ["gone", "none", "mixed", "none/a.pdf", "t/*.md", "["]
            .map(|spec| found(dir.path(), spec).unwrap_err().to_string())
            .join("\n")
            .replace(dir.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(errors, @r"
        `DIR/gone`: no such file or directory; expected a text file, a directory, a glob pattern, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
        `DIR/none`: no text files or token shards found; expected files that end in .txt, .jsonl or .json (also with .gz or .zst), or in .idx
        `DIR/mixed`: contains both text files and token shards; configure them as two sources
        `DIR/none/a.pdf`: unknown file type; expected .txt, .jsonl or .json (also with .gz or .zst), or token shards (.bin and .idx)
        `DIR/t/*.md`: no such file or directory; expected a text file, a directory, a glob pattern, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
        `DIR/[`: no such file or directory; expected a text file, a directory, a glob pattern, or token shards (PREFIX for PREFIX.bin and PREFIX.idx)
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
