//! A tiny run in a directory of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A configuration that trains in about a second, with all features enabled.
const TINY: &str = r#"
[run]
name = "tiny"
dir = "run"
seed = 7
threads = 1

[model]
vocab_size = 320
hidden_size = 32
intermediate_size = 64
num_hidden_layers = 2
num_attention_heads = 4
num_key_value_heads = 2
max_position_embeddings = 256

[tinyworld]
seed = 3
documents = 400

[tokenizer]
train_vocab_size = 320

[data]
seq_len = 32
validation_share = 0.05
cache_dir = "cache"

[[data.mix]]
name = "world"
path = "tinyworld"

[optim]
lr = 1e-2

[schedule]
kind = "cosine"
warmup_steps = 2
min_lr = 1e-3

[train]
steps = 12
global_batch_size = 4
micro_batch_size = 2

[checkpoint]
every_steps = 4
keep_last = 10

[validation]
every_steps = 6
rows = 4

[[probes]]
suite = "tinyworld"
every_steps = 6
limit = 4
"#;

/// Settings of runs on different numbers of ranks: eight micro-batches per step, and the same number of
/// threads on each rank.
pub(crate) const SHARED: [&str; 4] = [
    "run.threads=1",
    "train.micro_batch_size=1",
    "train.global_batch_size=8",
    "distributed.deterministic=true",
];

/// A directory with a configuration `tiny.toml`, in which commands are run.
pub(crate) struct Workplace {
    dir: tempfile::TempDir,
}

impl Workplace {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs_err::write(dir.path().join("tiny.toml"), TINY).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub(crate) fn write(&self, relative: &str, text: &str) {
        let path = self.path(relative);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// Returns a command that runs `fineline` with these arguments in this directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fineline"));
        command.args(arguments).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("FINELINE_LOG").env_remove("FINELINE_FAULTS").env_remove("RUST_BACKTRACE");
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Finished {
        Finished(self.command(arguments).output().unwrap())
    }

    /// Starts the program without waiting for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        self.start_with(arguments, &[])
    }

    /// Like [`start`](Self::start), with environment variables.
    pub(crate) fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        Running::of(&mut command)
    }

    /// Trains `tiny.toml` with these overrides. It must succeed.
    pub(crate) fn train(&self, overrides: &[&str]) -> Finished {
        let mut arguments = vec!["train", "tiny.toml"];
        arguments.extend(overrides.iter().flat_map(|value| ["--set", value]));
        self.run(&arguments).success()
    }

    /// Returns the losses of a run's steps.
    pub(crate) fn losses(&self, dir: &str) -> Vec<f64> {
        let log = self.log(&format!("{dir}/metrics.jsonl"));
        log.iter().map(|line| line["loss"].as_f64().unwrap()).collect()
    }

    /// Returns the metrics of a run's probes.
    pub(crate) fn scores(&self, dir: &str) -> Vec<Value> {
        self.log(&format!("{dir}/probes.jsonl")).iter().map(|line| line["metrics"].clone()).collect()
    }

    /// Asserts that the losses of both runs are within a millionth of each other.
    #[track_caller]
    pub(crate) fn assert_close(&self, dir: &str, expected: &str) {
        let (found, expected) = (self.losses(dir), self.losses(expected));
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= 1e-6 * expected, "{dir}: {found} is not {expected}");
        }
    }

    /// Returns the lines of a log, without timings.
    pub(crate) fn log(&self, relative: &str) -> Vec<Value> {
        read_log(&self.path(relative))
    }
}

/// Returns the lines of a log, without timings.
pub(crate) fn read_log(path: &Path) -> Vec<Value> {
    let text = fs_err::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .map(|line| {
            let mut record: Value = serde_json::from_str(line).unwrap();
            for timing in ["step_s", "data_wait_s", "tokens_per_s", "seconds", "blocked_s", "time"] {
                record.as_object_mut().unwrap().remove(timing);
            }
            record
        })
        .collect()
}

/// A running command. It is killed when dropped, for example if a test fails.
pub(crate) struct Running(Option<Child>);

impl Running {
    /// Starts a command, and captures its standard error.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self(Some(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().expect("only consuming methods take it")
    }

    pub(crate) fn id(&mut self) -> u32 {
        self.child().id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child().try_wait().unwrap().is_some()
    }

    /// Sends a signal by its name, such as `INT`. `kill` is a builtin of every shell, but may be missing as a
    /// program.
    pub(crate) fn signal(&mut self, name: &str) {
        let command = format!("kill -{name} {}", self.id());
        let status: ExitStatus = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(status.success(), "{command}");
    }

    pub(crate) fn kill(mut self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
    }

    /// Waits until the program exits, for at most two minutes.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Finished {
        let end = Instant::now() + Duration::from_mins(2);
        while !self.has_ended() {
            assert!(Instant::now() < end, "the program doesn't exit");
            std::thread::sleep(Duration::from_millis(5));
        }
        Finished(self.0.take().expect("only consuming methods take it").wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It may have exited.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits until `condition` is true, for at most a minute.
#[track_caller]
pub(crate) fn wait_for(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < end, "waited for a minute without success");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file system in memory, unmounted when dropped.
#[cfg(target_os = "linux")]
pub(crate) struct Mounted(PathBuf);

#[cfg(target_os = "linux")]
impl Mounted {
    /// Mounts one at `dir`. Where that is not possible, the test is recorded as skipped.
    pub(crate) fn new(dir: PathBuf, options: &str) -> Option<Self> {
        fs_err::create_dir_all(&dir).unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&dir).output();
        if mount.is_ok_and(|output| output.status.success()) {
            return Some(Self(dir));
        }
        fineline_testing::skip("the right to mount a file system in memory");
        None
    }

    pub(crate) fn remount(&self, options: &str) {
        let options = format!("remount,{options}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status().unwrap();
        assert!(status.success(), "{options}");
    }
}

#[cfg(target_os = "linux")]
impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A finished command.
pub(crate) struct Finished(Output);

impl Finished {
    /// Runs a command and waits for it.
    pub(crate) fn of(command: &mut Command) -> Self {
        Self(command.output().unwrap())
    }

    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert!(self.0.status.success(), "{}\n{}\n{}", self.0.status, self.stdout(), self.stderr());
        self
    }

    /// Asserts the exit code, and that there was no panic.
    #[track_caller]
    pub(crate) fn fails_with(self, code: i32) -> Self {
        assert_eq!(self.0.status.code(), Some(code), "{}\n{}", self.stdout(), self.stderr());
        assert!(!self.stderr().contains("panicked"), "{}", self.stderr());
        self
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|error| panic!("{error}: {}", self.stdout()))
    }
}

/// All files below a directory with their bytes, by relative path.
pub(crate) fn files_below(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        for entry in fs_err::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else {
                files.push((path.strip_prefix(dir).unwrap().to_owned(), fs_err::read(&path).unwrap()));
            }
        }
    }
    files.sort();
    files
}
