//! Records of skipped tests, kept until the end of `cargo test`.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A test that was skipped, or that skipped a part of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkippedTest {
    /// Test program and path of the test: `program: weights::importing_works`.
    pub name: String,
    /// Requirements that the test lacked, in order.
    pub lacks: Vec<String>,
}

/// Records that the current test lacks something and therefore does not test it, or tests less.
///
/// Prints a line immediately, past the test harness, which discards the output of tests that pass.
///
/// # Panics
///
/// If standard error cannot be written.
pub fn skip(lacks: &str) {
    let name = test_name();
    std::io::stderr()
        .write_all(format!("skipped: {name}: lacks {lacks}\n").as_bytes())
        .expect("stderr is open");
    if let Some(file) = record_file() {
        append(&file, &name, lacks);
    }
}

/// Removes the records of the `cargo test` that started this process, and returns them by name.
///
/// Returns `None` where the parent process cannot be identified, so that tests have recorded nothing.
#[must_use]
pub fn take_skipped() -> Option<Vec<SkippedTest>> {
    let file = record_file()?;
    let records = fs_err::read_to_string(&file).unwrap_or_default();
    let _ = fs_err::remove_file(&file);
    Some(parse(&records))
}

fn parse(records: &str) -> Vec<SkippedTest> {
    let mut by_name: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, lacks) in records.lines().filter_map(|line| line.split_once('\t')) {
        let all = by_name.entry(name).or_default();
        if !all.iter().any(|other| other == lacks) {
            all.push(lacks.to_owned());
        }
    }
    by_name.into_iter().map(|(name, lacks)| SkippedTest { name: name.to_owned(), lacks }).collect()
}

/// Adds a record. Tests of several programs may do so at the same time, so each is written as one piece.
fn append(file: &Path, name: &str, lacks: &str) {
    let line = format!("{name}\t{}\n", lacks.replace(['\n', '\t'], " "));
    let parent = file.parent().expect("the file is in a directory");
    let written = fs_err::create_dir_all(parent).and_then(|()| {
        let mut file = fs_err::OpenOptions::new().create(true).append(true).open(file)?;
        file.write_all(line.as_bytes())
    });
    // A record that cannot be written is no reason to fail a test. The line above has been printed.
    drop(written);
}

/// `PROGRAM: PATH`, from the test program's file name and the thread that libtest names after the test.
fn test_name() -> String {
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    let program = program.rsplit_once('-').map_or(&*program, |(program, _hash)| program);
    let thread = std::thread::current();
    format!("{program}: {}", thread.name().unwrap_or("unknown test"))
}

/// File for the tests that this process's parent runs: `target/release/skipped-tests/KEY`.
fn record_file() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    // Test programs are in `target/PROFILE/deps`.
    let build = program.parent()?.parent()?;
    Some(build.join("skipped-tests").join(parent_key()?))
}

/// Identifies the parent process: `cargo`, for the test programs that it runs. `None` where the standard
/// library has no parent process.
fn parent_key() -> Option<String> {
    #[cfg(unix)]
    let parent = Some(std::os::unix::process::parent_id());
    #[cfg(not(unix))]
    let parent: Option<u32> = None;
    let parent = parent?;
    // Process ids are reused; on Linux the start time tells two processes of one id apart. It is the 20th
    // field after the program's name, which ends with the last parenthesis.
    let status = fs_err::read_to_string(format!("/proc/{parent}/stat")).unwrap_or_default();
    let start = status.rsplit_once(')').and_then(|(_, fields)| fields.split_whitespace().nth(19));
    Some(format!("{parent}-{}", start.unwrap_or("0")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_grouped_by_test() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("records/1-2");
        append(&file, "suite: b", "materials/x");
        append(&file, "suite: a", "moto:\nno module");
        append(&file, "suite: b", "materials/y");
        append(&file, "suite: b", "materials/x");
        let skipped = parse(&fs_err::read_to_string(&file).unwrap());
        let test = |name: &str, lacks: &[&str]| SkippedTest {
            name: name.to_owned(),
            lacks: lacks.iter().map(|&lacks| lacks.to_owned()).collect(),
        };
        assert_eq!(
            skipped,
            [test("suite: a", &["moto: no module"]), test("suite: b", &["materials/x", "materials/y"])]
        );
    }

    #[test]
    fn names_are_those_of_the_test() {
        assert_eq!(test_name(), "fineline_testing: records::tests::names_are_those_of_the_test");
    }

    #[test]
    #[cfg(unix)]
    fn the_parent_process_has_a_key() {
        let parent = std::os::unix::process::parent_id();
        assert!(parent_key().unwrap().starts_with(&format!("{parent}-")));
    }
}
