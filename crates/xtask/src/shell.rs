//! Runs other programs from the root of the repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// Starts programs in the repository root and prints their command lines.
pub(crate) struct Shell {
    pub root: PathBuf,
}

impl Shell {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    /// A command that runs in the repository root.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.current_dir(&self.root);
        command
    }

    /// The `cargo` that runs this program, with `arguments` separated by spaces.
    pub(crate) fn cargo(&self, arguments: &str) -> Command {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = self.command(cargo);
        command.args(arguments.split_whitespace());
        command
    }

    /// The directory that cargo builds in.
    pub(crate) fn target_directory(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| self.root.join("target"), |path| self.root.join(path))
    }

    /// The `fineline` program of a release build.
    pub(crate) fn fineline(&self) -> PathBuf {
        self.target_directory().join("release").join(format!("fineline{}", std::env::consts::EXE_SUFFIX))
    }
}

/// Runs a command to its end.
///
/// # Errors
///
/// If it cannot be started, or exits with an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", command_line(command));
    let status =
        command.status().with_context(|| format!("{} could not be started", command_line(command)))?;
    if !status.success() {
        bail!("{} failed: {status}", command_line(command));
    }
    Ok(())
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
///
/// As [`run`], or if the output is not UTF-8.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .with_context(|| format!("{} could not be started", command_line(command)))?;
    if !output.status.success() {
        bail!("{} failed: {}", command_line(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("{}: output is not UTF-8", command_line(command)))
}

/// Whether a command can be started and succeeds. Its output is discarded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

fn command_line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(std::ffi::OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_name_the_program_without_its_directory() {
        let mut command = Command::new("/usr/bin/cargo");
        command.args(["test", "--release"]);
        assert_eq!(command_line(&command), "cargo test --release");
    }
}
