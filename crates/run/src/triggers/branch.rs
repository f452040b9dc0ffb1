//! Branches that triggers prepare.

use std::path::{Path, PathBuf};

use fineline_files::create_directory;
use fineline_files::write_atomically;
use fineline_layout::{RunDirectory, step_name};
use fineline_train::ScheduleKind;
use fs_err as fs;

use crate::config::RunConfig;
use crate::error::RunError;

/// The point at which a branch starts.
pub(super) struct BranchPoint<'a> {
    pub(super) trigger: &'a str,
    pub(super) step: u64,
    /// Learning rate at which the decay starts.
    pub(super) lr: f64,
    /// Number of steps of the decay.
    pub(super) decay_steps: u64,
}

/// Writes a configuration that continues training with a decaying learning rate, and `train.sh`, which starts
/// or resumes it. Returns their directory.
///
/// The branch is the decay of WSD (Hu et al., 2024): linear from the current learning rate to
/// `schedule.min_lr`.
///
/// # Errors
/// Files that can't be written.
pub(super) fn write_branch(
    config: &RunConfig,
    directory: &RunDirectory,
    point: &BranchPoint<'_>,
) -> Result<PathBuf, RunError> {
    let name = format!("{}-{}", step_name(point.step), point.trigger);
    create_directory(&directory.branches())?;
    let dir = directory.branches().join(&name);
    create_directory(&dir)?;
    let config_path = dir.join("config.toml");
    write_atomically(&config_path, branch_config(config, &name, &dir, point).to_toml().as_bytes())?;
    let checkpoint = directory.checkpoints().join(step_name(point.step));
    let script = format!(
        "#!/bin/sh\n# Starts the branch, or resumes it.\ncd {} || exit 1\nexec \
         \"${{FINELINE:-fineline}}\" train {} --resume {} \"$@\"\n",
        quoted(&std::env::current_dir()?),
        quoted(&config_path),
        quoted(&checkpoint),
    );
    let script_path = dir.join("train.sh");
    write_atomically(&script_path, script.as_bytes())?;
    #[cfg(unix)]
    fs::set_permissions(&script_path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(dir)
}

fn branch_config(config: &RunConfig, name: &str, dir: &Path, point: &BranchPoint<'_>) -> RunConfig {
    let mut branch = config.clone();
    branch.run.name = format!("{}-{name}", config.run.name);
    branch.run.dir = dir.join("run");
    branch.init = None;
    branch.optim.lr = point.lr;
    let end = point.step + point.decay_steps;
    branch.schedule.kind = ScheduleKind::Wsd;
    branch.schedule.warmup_steps = 0;
    branch.schedule.decay_start = Some(point.step);
    branch.schedule.decay_end = Some(end);
    branch.schedule.min_lr = config.schedule.min_lr.min(point.lr);
    branch.train.tokens = None;
    branch.train.steps = Some(end);
    branch.triggers.clear();
    branch
}

/// Quotes a path for the shell.
fn quoted(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
