//! The files of a run other than its checkpoints, and their current contents.

use std::io;
use std::path::Path;

use bytes::Bytes;
use fineline_layout::{UPLOADED_DIRS, UPLOADED_FILES, is_plain_file_name};

/// Lists the existing files by their path in the run directory.
pub(crate) fn run_files(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for dir in UPLOADED_DIRS {
        let entries = match fs_err::read_dir(root.join(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if is_plain_file_name(&name) {
                names.push(format!("{dir}/{name}"));
            }
        }
    }
    names.sort();
    names.extend(UPLOADED_FILES.iter().filter(|name| root.join(name).is_file()).map(|&name| name.to_owned()));
    Ok(names)
}

/// Returns whether an object is one of a run's files.
pub(crate) fn is_run_file(key: &str) -> bool {
    match key.split_once('/') {
        None => UPLOADED_FILES.contains(&key),
        Some((dir, name)) => UPLOADED_DIRS.contains(&dir) && is_plain_file_name(name),
    }
}

/// Reads a file. Of a log, only complete lines, since the last one may be incomplete.
pub(crate) fn content(path: &Path) -> io::Result<Bytes> {
    let mut bytes = fs_err::read(path)?;
    if path.extension().is_some_and(|extension| extension == "jsonl") {
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        bytes.truncate(whole);
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runs_files_are_found_and_others_are_not() {
        let temp = tempfile::tempdir().unwrap();
        for name in [
            "run.json",
            "metrics.jsonl",
            ".lock",
            "notes.txt",
            "items/step-00000001.parquet",
            "items/.writing-x",
        ] {
            let path = temp.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, "{}\n{\"torn").unwrap();
        }
        let names = run_files(temp.path()).unwrap();
        assert_eq!(names, ["items/step-00000001.parquet", "metrics.jsonl", "run.json"]);
        assert!(names.iter().all(|name| is_run_file(name)));
        assert!(
            !is_run_file("items/../run.json")
                && !is_run_file("checkpoints/latest")
                && !is_run_file("notes.txt")
        );
        assert_eq!(&content(&temp.path().join("metrics.jsonl")).unwrap()[..], b"{}\n");
        assert_eq!(content(&temp.path().join("run.json")).unwrap().len(), 9);
    }
}
