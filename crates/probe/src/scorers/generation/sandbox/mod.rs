//! Sandboxed execution of programs that a model wrote.
//!
//! A program runs in its own Linux namespaces. In its process namespace, it sees only its own processes,
//! which all end with it. Its network namespace has no connections. Its file system has the system's
//! libraries and Python, read-only, and an empty in-memory directory for writing. It has no capabilities, no
//! environment, and limits on time, memory, files and processes. The sandbox is set up by other programs
//! (`unshare`, `mount`, `chroot`, `setpriv`). If they are missing, or the system doesn't allow it, there is
//! no sandbox, and nothing is run.

use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use tempfile::TempDir;

/// Permission to run programs that a model wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CodeExecution<'a> {
    /// Suites with tasks that need it are refused.
    #[default]
    Forbidden,
    /// In a sandbox, with this Python, or with the `python3` on the path. If a sandbox is impossible, such
    /// suites are refused too.
    Allowed(Option<&'a Path>),
}

/// Returns why programs can't be run in a sandbox on this machine, or `None` if they can.
#[must_use]
pub fn sandbox_problem() -> Option<String> {
    Sandbox::new(None).err()
}

/// Resource limits of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SandboxLimits {
    /// From start to end. Half of it covers the start of the sandbox on a busy machine.
    pub(crate) seconds: u64,
    /// Address space of each process.
    pub(crate) memory_bytes: u64,
    /// Maximum size of a file, and a quarter of that of all files together.
    pub(crate) file_bytes: u64,
    pub(crate) processes: u64,
    pub(crate) open_files: u64,
}

impl Default for SandboxLimits {
    /// Twice the three seconds of the harness's `code_eval`, and enough memory to import a library or two.
    fn default() -> Self {
        Self { seconds: 6, memory_bytes: 2 << 30, file_bytes: 16 << 20, processes: 16, open_files: 64 }
    }
}

/// Outcome of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProgramOutcome {
    /// It ran to its end, and reported that.
    Passed,
    /// It ended early, for whatever reason.
    Failed,
    /// It was killed at its time limit.
    TimedOut,
}

/// A sandbox for Python programs.
#[derive(Debug)]
pub(crate) struct Sandbox {
    /// The interpreter itself, not a wrapper script.
    python: PathBuf,
    /// The directory of its standard library.
    prefix: PathBuf,
    /// An empty directory over which each run mounts its own root.
    mount_point: TempDir,
    limits: SandboxLimits,
    is_root: bool,
}

/// Builds the root and enters it. The shell stays the first process of its namespace: when it ends, or is
/// killed with its parent, so are all others in the namespace.
const ENTER: &str = r#"
set -e
root=$1 prefix=$2 size=$3
shift 3
mount --make-rprivate /
mount -t tmpfs -o "size=$size,mode=0755,nosuid,nodev" tmpfs "$root"
add() {
    if [ -L "$1" ]; then mkdir -p "$root$(dirname "$1")"; ln -s "$(readlink "$1")" "$root$1"
    elif [ -d "$1" ] && [ ! -e "$root$1" ]; then
        mkdir -p "$root$1"
        mount --bind "$1" "$root$1"
        mount -o remount,bind,ro,nosuid,nodev "$root$1"
    fi
}
for dir in /usr /bin /lib /lib32 /lib64 /nix/store; do add "$dir"; done
case $prefix in /usr | /usr/*) ;; *) add "$prefix" ;; esac
mkdir "$root/dev" "$root/work"
touch "$root/dev/null"
mount --bind /dev/null "$root/dev/null"
chmod 0777 "$root/work"
cd "$root"
chroot "$root" setpriv "$@"
"#;

/// Reads the program from standard input, sets its limits, and executes it. The first line of output confirms
/// that this point was reached.
const BEGIN: &str = r#"
import os, resource, sys
seconds, memory, file, processes, files = map(int, sys.argv[1:6])
program = sys.stdin.buffer.read()
os.chdir("/work")
with open("program.py", "wb") as target:
    target.write(program)
os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
for what, limit in [
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_CPU, seconds),
    (resource.RLIMIT_AS, memory),
    (resource.RLIMIT_FSIZE, file),
    (resource.RLIMIT_NPROC, processes),
    (resource.RLIMIT_NOFILE, files),
]:
    resource.setrlimit(what, (limit, limit))
os.write(1, b"begun\n")
os.execve(sys.executable, [sys.executable, "-s", "-B", "program.py"], {"PYTHONHASHSEED": "0"})
"#;

const BEGUN: &[u8] = b"begun\n";

/// Number of bytes of output that are kept from its beginning and from its end.
const KEPT: usize = 4096;

impl Sandbox {
    /// Finds Python (`python`, or `python3` on the path) and checks that programs can be run. On failure, the
    /// reason.
    pub(crate) fn new(python: Option<&Path>) -> Result<Self, String> {
        if !cfg!(target_os = "linux") {
            return Err("the sandbox requires Linux namespaces".to_owned());
        }
        let python = python.unwrap_or(Path::new("python3"));
        let (python, prefix) = interpreter(python)?;
        let failed = |error: std::io::Error| format!("no sandbox: {error}");
        let mount_point = tempfile::Builder::new().prefix("fineline-sandbox-").tempdir().map_err(failed)?;
        // Inside the namespace, the user may be another one.
        let is_root = fs::metadata("/proc/self").map_err(failed)?.uid() == 0;
        let sandbox = Self { python, prefix, mount_point, limits: SandboxLimits::default(), is_root };
        match sandbox.run("pass")? {
            ProgramOutcome::Passed => Ok(sandbox),
            outcome => Err(format!("no sandbox: an empty program ended as {outcome:?}")),
        }
    }

    #[cfg(test)]
    fn with_limits(mut self, limits: SandboxLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Runs a program to its end or to its limits. Fails only if the sandbox itself does.
    pub(crate) fn run(&self, program: &str) -> Result<ProgramOutcome, String> {
        let sentinel = format!("passed-{}", &blake3::hash(program.as_bytes()).to_hex()[..32]);
        let failed = |error: std::io::Error| format!("no sandbox: `unshare`: {error}");
        let mut child = self.command().spawn().map_err(failed)?;
        // The marker is written regardless of what the program did to `print`, and ends its threads too.
        let program =
            format!("{program}\n\n__import__('os').write(1, b'{sentinel}')\n__import__('os')._exit(0)\n");
        let mut stdin = child.stdin.take();
        let stdout = child.stdout.take().map(|pipe| thread::spawn(|| CapturedOutput::of(pipe)));
        let stderr = child.stderr.take().map(|pipe| thread::spawn(|| CapturedOutput::of(pipe)));
        // The reader consumes everything before the program starts. If it ends early, the rest is irrelevant.
        let _ = stdin.take().map(|mut pipe| pipe.write_all(program.as_bytes()));
        let status = wait(&mut child, Duration::from_secs(self.limits.seconds)).map_err(failed)?;
        let output = |reader: Option<thread::JoinHandle<CapturedOutput>>| {
            reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
        };
        let (stdout, stderr) = (output(stdout), output(stderr));
        match status {
            _ if !stdout.head.starts_with(BEGUN) && status.is_some() => {
                Err(format!("no sandbox: {}", String::from_utf8_lossy(&stderr.head).trim()))
            }
            None => Ok(ProgramOutcome::TimedOut),
            Some(status) if status.success() && stdout.ends_with(sentinel.as_bytes()) => {
                Ok(ProgramOutcome::Passed)
            }
            Some(_) => Ok(ProgramOutcome::Failed),
        }
    }

    fn command(&self) -> Command {
        let mut command = Command::new("unshare");
        let limits = &self.limits;
        if !self.is_root {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["--mount", "--net", "--ipc", "--uts", "--pid", "--fork", "--kill-child=KILL", "--"]);
        command.args(["sh", "-c", ENTER, "sh"]);
        command.arg(self.mount_point.path()).arg(&self.prefix);
        command.arg((4 * limits.file_bytes).to_string());
        if self.is_root {
            // A user for whom the limit on processes holds, and whom no other program uses.
            let user = 1_000_000_000
                + u64::from(std::process::id() % 1_000_000) * 1000
                + rayon::current_thread_index().map_or(999, |index| index as u64 % 999);
            command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()]);
        }
        command.args(["--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]);
        command.arg(&self.python).args(["-I", "-S", "-c", BEGIN]);
        let numbers =
            [limits.seconds, limits.memory_bytes, limits.file_bytes, limits.processes, limits.open_files];
        command.args(numbers.map(|number| number.to_string()));
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Signals to fineline (Ctrl-C) are not for the program.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command
    }
}

/// The path of the interpreter that `python` refers to, and its prefix.
fn interpreter(python: &Path) -> Result<(PathBuf, PathBuf), String> {
    let ask = "import os, sys; print(os.path.realpath(sys.executable), sys.base_prefix, sep='\\n')";
    let name = python.display();
    let answer = Command::new(python)
        .args(["-I", "-c", ask])
        .output()
        .map_err(|error| format!("cannot run Python (`{name}`): {error}"))?;
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    match answer.lines().collect::<Vec<_>>()[..] {
        [executable, prefix] => Ok((executable.into(), prefix.into())),
        _ => Err(format!("`{name}` is not Python 3")),
    }
}

/// Waits for the end of `child`, which is killed at the time limit. `None` if it was killed.
fn wait(child: &mut Child, limit: Duration) -> std::io::Result<Option<ExitStatus>> {
    let end = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(pause);
        pause = (2 * pause).min(Duration::from_millis(20));
    }
}

/// Beginning and end of a program's output.
#[derive(Debug, Default)]
struct CapturedOutput {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl CapturedOutput {
    /// Reads to the end, whatever the length.
    fn of(mut pipe: impl Read) -> Self {
        let mut output = Self::default();
        let mut buffer = [0; 1 << 14];
        while let Ok(read @ 1..) = pipe.read(&mut buffer) {
            let room = KEPT.saturating_sub(output.head.len()).min(read);
            output.head.extend_from_slice(&buffer[..room]);
            output.tail.extend_from_slice(&buffer[..read]);
            let excess = output.tail.len().saturating_sub(KEPT);
            output.tail.drain(..excess);
        }
        output
    }

    fn ends_with(&self, text: &[u8]) -> bool {
        self.tail.ends_with(text)
    }
}

#[cfg(test)]
mod tests;
