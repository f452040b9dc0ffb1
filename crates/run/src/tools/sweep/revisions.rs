//! The checkpoints of a series, and the selection of some of them.

use std::path::{Path, PathBuf};

use fineline_diagnostics::nearest;
use fineline_layout::{ABANDONED_PREFIX, CHECKPOINTS_DIR, MODEL_CONFIG_FILE};
use fs_err as fs;

use super::error::SweepError;

/// A checkpoint of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SweepCheckpoint {
    pub(super) revision: String,
    pub(super) dir: PathBuf,
    pub(super) step: u64,
    pub(super) tokens: u64,
}

/// Returns the names and directories of all checkpoints at `model`: those that match a pattern, or those in a
/// directory or its `checkpoints`, sorted by name.
pub(super) fn find(model: &Path) -> Result<Vec<(String, PathBuf)>, SweepError> {
    let text = model.to_string_lossy();
    let is_pattern = text.contains(['*', '?', '[']);
    let dirs = if is_pattern && !model.exists() {
        let pattern = |message: String| SweepError::Pattern { pattern: text.clone().into_owned(), message };
        let paths = glob::glob(&text).map_err(|error| pattern(error.to_string()))?;
        paths.collect::<Result<Vec<_>, _>>().map_err(|error| pattern(error.to_string()))?
    } else {
        let below = model.join(CHECKPOINTS_DIR);
        let dir = if below.is_dir() { below.as_path() } else { model };
        if dir.is_dir() { entries(dir)? } else { Vec::new() }
    };
    let mut found: Vec<(String, PathBuf)> = dirs
        .into_iter()
        .filter(|dir| dir.join(MODEL_CONFIG_FILE).is_file())
        .filter_map(|dir| Some((dir.file_name()?.to_str()?.to_owned(), dir)))
        .filter(|(name, _)| !name.starts_with('.') && !name.starts_with(ABANDONED_PREFIX))
        .collect();
    found.sort();
    if found.is_empty() {
        return Err(SweepError::NoCheckpoints { model: model.to_owned() });
    }
    Ok(found)
}

/// Removes links to siblings: a run's `ckpt_000` is one of its steps.
pub(super) fn without_second_names(dirs: Vec<(String, PathBuf)>) -> Vec<(String, PathBuf)> {
    let is_second = |dir: &Path| fs::read_link(dir).is_ok_and(|target| target.components().count() == 1);
    dirs.into_iter().filter(|(_, dir)| !is_second(dir)).collect()
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, SweepError> {
    fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
}

/// Selects those of a list: names and ranges separated by commas, or a file with one per line.
pub(super) fn select(list: &str, known: &[(String, PathBuf)]) -> Result<Vec<(String, PathBuf)>, SweepError> {
    let text = if Path::new(list).is_file() {
        let text = fs::read_to_string(list)?;
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        lines.collect::<Vec<_>>().join(",")
    } else {
        list.to_owned()
    };
    let mut selected: Vec<(String, PathBuf)> = Vec::new();
    for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        for name in expand(item)? {
            let Some(found) = known.iter().find(|(revision, _)| *revision == name) else {
                return Err(missing(name, known));
            };
            if !selected.contains(found) {
                selected.push(found.clone());
            }
        }
    }
    if selected.is_empty() {
        return Err(missing(list.to_owned(), known));
    }
    Ok(selected)
}

fn missing(revision: String, known: &[(String, PathBuf)]) -> SweepError {
    let names = || known.iter().map(|(name, _)| name.as_str());
    let end = |name: Option<&str>| name.unwrap_or_default().to_owned();
    SweepError::NoRevision {
        hint: nearest(&revision, names()).map(str::to_owned),
        revision,
        count: known.len(),
        first: end(names().next()),
        last: end(names().next_back()),
    }
}

/// Expands `a{00..20..10}b` to `a00b`, `a10b`, `a20b`. Other items are returned as they are.
fn expand(item: &str) -> Result<Vec<String>, SweepError> {
    let Some((before, rest)) = item.split_once('{') else { return Ok(vec![item.to_owned()]) };
    let wrong = || SweepError::Range { range: item.to_owned() };
    let (range, after) = rest.split_once('}').ok_or_else(wrong)?;
    let parts: Vec<&str> = range.split("..").collect();
    let (first, last, stride) = match parts[..] {
        [first, last] => (first, last, "1"),
        [first, last, stride] => (first, last, stride),
        _ => return Err(wrong()),
    };
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    let (begin, end, stride) = (number(first)?, number(last)?, number(stride)?);
    if stride == 0 || begin > end {
        return Err(wrong());
    }
    let width = first.len();
    Ok((begin..=end).step_by(stride).map(|number| format!("{before}{number:0width$}{after}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(names: &[&str]) -> Vec<(String, PathBuf)> {
        names.iter().map(|name| ((*name).to_owned(), PathBuf::from(name))).collect()
    }

    fn names(list: &str) -> Result<Vec<String>, String> {
        let known = known(&["ckpt_000", "ckpt_010", "ckpt_020", "main"]);
        let selected = select(list, &known).map_err(|error| error.to_string())?;
        Ok(selected.into_iter().map(|(name, _)| name).collect())
    }

    #[test]
    fn lists_have_names_and_ranges() {
        assert_eq!(names("main, ckpt_010").unwrap(), ["main", "ckpt_010"]);
        assert_eq!(names("ckpt_{000..020..10},ckpt_010").unwrap(), ["ckpt_000", "ckpt_010", "ckpt_020"]);
        assert_eq!(expand("s{9..11}").unwrap(), ["s9", "s10", "s11"]);
        for wrong in ["{a..b}", "{1..2..0}", "{5..1}", "{1}", "{1..2"] {
            assert!(expand(wrong).unwrap_err().to_string().contains("isn't a range of revisions"), "{wrong}");
        }
    }

    #[test]
    fn lists_may_be_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.txt");
        fs::write(&path, "# the first\nckpt_000\n\nckpt_{010..020..10} # and two more\n").unwrap();
        assert_eq!(names(path.to_str().unwrap()).unwrap(), ["ckpt_000", "ckpt_010", "ckpt_020"]);
    }

    #[test]
    fn what_is_missing_is_named_with_the_nearest() {
        assert_eq!(
            names("ckpt_01O").unwrap_err(),
            "no checkpoint `ckpt_01O` (did you mean `ckpt_010`?); there are 4, from ckpt_000 to main"
        );
    }

    #[test]
    fn checkpoints_are_directories_with_a_configuration() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["run/checkpoints/step-1", "run/checkpoints/abandoned-step-2", "run/items", "m/b", "m/a"]
        {
            fs::create_dir_all(dir.path().join(name)).unwrap();
            if name != "run/items" {
                fs::write(dir.path().join(name).join("config.json"), "").unwrap();
            }
        }
        let names = |model: &str| -> Vec<String> {
            find(&dir.path().join(model)).unwrap().into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names("run"), ["step-1"]);
        assert_eq!(names("m"), ["a", "b"]);
        assert_eq!(names("m/*"), ["a", "b"]);
        assert!(find(&dir.path().join("run/items")).unwrap_err().to_string().contains("no checkpoints here"));
    }
}
