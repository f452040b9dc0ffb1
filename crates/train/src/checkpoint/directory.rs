//! The directory of a run's checkpoints.

use std::io;
use std::path::{Path, PathBuf};

use fineline_files::{
    TEMPORARY_PREFIX, create_directory, remove_temporary_files, rename, replace_symlink, sync_directory,
    write_atomically,
};
use fineline_layout::{ABANDONED_PREFIX, LATEST_FILE, REMOVING_PREFIX, parse_step_name, step_name};

use crate::checkpoint::config::CheckpointMilestones;
use crate::checkpoint::manifest::verify_checkpoint;
use crate::error::TrainError;

/// The directory `checkpoints/` of a run.
#[derive(Clone, Debug)]
pub struct CheckpointDirectory(PathBuf);

/// The result of a search for a checkpoint to resume from.
#[derive(Debug)]
pub struct CheckpointScan {
    /// The newest checkpoint whose files all match its manifest.
    pub newest_complete: Option<PathBuf>,
    /// The error of each newer checkpoint that is damaged, a [`TrainError::Damaged`].
    pub damaged: Vec<TrainError>,
}

impl CheckpointDirectory {
    /// Refers to the directory at this path, which doesn't have to exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Returns the path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the checkpoint of a step, which doesn't have to exist.
    #[must_use]
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.0.join(step_name(step))
    }

    /// Returns the steps with checkpoints, ascending. Empty if the directory doesn't exist.
    ///
    /// # Errors
    /// [`TrainError::Io`] if the directory can't be read.
    pub fn steps(&self) -> Result<Vec<u64>, TrainError> {
        let mut steps: Vec<u64> = self.entries()?.iter().filter_map(|entry| parse_step_name(entry)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Returns the newest checkpoint whose files match the hashes of its manifest.
    ///
    /// # Errors
    /// [`TrainError::Io`] if a file can't be read. Its checkpoint may be complete, and resuming from an older
    /// one would undo its steps.
    pub fn newest_complete(&self) -> Result<CheckpointScan, TrainError> {
        self.newest_complete_until(u64::MAX)
    }

    /// Returns the newest complete checkpoint that is not after `last_step`.
    ///
    /// # Errors
    /// As [`newest_complete`](Self::newest_complete).
    pub fn newest_complete_until(&self, last_step: u64) -> Result<CheckpointScan, TrainError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev().filter(|&step| step <= last_step) {
            let path = self.checkpoint(step);
            match verify_checkpoint(&path) {
                Ok(()) => return Ok(CheckpointScan { newest_complete: Some(path), damaged }),
                Err(error @ TrainError::Damaged { .. }) => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(CheckpointScan { newest_complete: None, damaged })
    }

    /// Prepares the directory for a run at `step`: creates it if needed, removes files of interrupted writes,
    /// and renames checkpoints after `step` to `abandoned-...`, so that no run resumes from them. Those are
    /// damaged, or of steps that a rewind has undone.
    ///
    /// # Errors
    /// [`TrainError::Io`] if the directory can't be changed.
    pub fn prepare(&self, step: u64) -> Result<(), TrainError> {
        create_directory(&self.0)?;
        remove_temporary_files(&self.0)?;
        for entry in self.entries()?.iter().filter(|entry| entry.starts_with(REMOVING_PREFIX)) {
            fs_err::remove_dir_all(self.0.join(entry))?;
        }
        let steps = self.steps()?;
        // Newest first, so that an interruption doesn't leave a newer checkpoint behind.
        for &beyond in steps.iter().rev().filter(|&&beyond| beyond > step) {
            self.abandon(beyond)?;
        }
        self.remove_dangling_links()?;
        match steps.iter().rfind(|&&kept| kept <= step) {
            Some(&newest) => self.set_latest(newest),
            None => remove_if_exists(&self.0.join(LATEST_FILE)),
        }?;
        Ok(())
    }

    /// Removes links to checkpoints that no longer exist.
    fn remove_dangling_links(&self) -> io::Result<()> {
        for link in self.entries()?.iter().map(|entry| self.0.join(entry)).filter(|path| path.is_symlink()) {
            if !link.exists() {
                fs_err::remove_file(link)?;
            }
        }
        Ok(())
    }

    /// Creates a link to the checkpoint of a step, if the file system supports links.
    pub(crate) fn link(&self, link: &str, step: u64) -> io::Result<()> {
        match replace_symlink(&self.0.join(link), &step_name(step)) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            linked => linked,
        }
    }

    /// Returns the checkpoints that are kept permanently so far, which are those with a link.
    ///
    /// # Errors
    /// An error of the file system.
    pub fn milestones(&self) -> io::Result<CheckpointMilestones> {
        let links = self.entries()?.into_iter().filter(|entry| self.0.join(entry).is_symlink());
        let mut milestones = CheckpointMilestones::new();
        for link in links {
            let named = fs_err::read_link(self.0.join(&link))?;
            if let Some(step) = named.to_str().and_then(parse_step_name) {
                milestones.insert(step, link);
            }
        }
        Ok(milestones)
    }

    /// Renames a checkpoint to `abandoned-...`. If that name exists, a number is appended.
    fn abandon(&self, step: u64) -> io::Result<()> {
        let first = format!("{ABANDONED_PREFIX}{}", step_name(step));
        let entries = self.entries()?;
        let mut free = first.clone();
        let mut number = 1;
        while entries.contains(&free) {
            number += 1;
            free = format!("{first}-{number}");
        }
        rename(&self.checkpoint(step), &self.0.join(free))
    }

    /// Returns the directory that the checkpoint of a step is written into before it gets its name.
    pub(crate) fn writing_path(&self, step: u64) -> PathBuf {
        self.0.join(format!("{TEMPORARY_PREFIX}{}", step_name(step)))
    }

    /// Adds a checkpoint from elsewhere: `fill` writes its files into the given directory. The checkpoint
    /// gets its name once it is verified. An existing checkpoint of the same step is renamed to
    /// `abandoned-...`.
    ///
    /// # Errors
    /// Errors of `fill`; [`TrainError::Io`]; [`TrainError::Damaged`] if the files don't match their manifest.
    pub fn receive<E: From<TrainError>>(
        &self,
        step: u64,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let from_io = |error: io::Error| E::from(TrainError::Io(error));
        let writing = self.writing_path(step);
        create_directory(&self.0).map_err(from_io)?;
        if writing.exists() {
            fs_err::remove_dir_all(&writing).map_err(from_io)?;
        }
        fs_err::create_dir(&writing).map_err(from_io)?;
        fill(&writing)?;
        verify_checkpoint(&writing)?;
        if self.checkpoint(step).exists() {
            self.abandon(step).map_err(from_io)?;
        }
        self.publish(step).map_err(from_io)?;
        Ok(self.checkpoint(step))
    }

    /// Gives a checkpoint its name, after all its files have been synced to disk. Once this succeeds, the
    /// checkpoint is durable.
    pub(crate) fn publish(&self, step: u64) -> io::Result<()> {
        let writing = self.writing_path(step);
        sync_directory(&writing)?;
        rename(&writing, &self.checkpoint(step))
    }

    /// Writes the name of this checkpoint into the file `latest`, for people and other tools. A run doesn't
    /// read it.
    pub(crate) fn set_latest(&self, step: u64) -> io::Result<()> {
        write_atomically(&self.0.join(LATEST_FILE), format!("{}\n", step_name(step)).as_bytes())
    }

    /// Removes a checkpoint. It is renamed first, so that a partial checkpoint is never found.
    pub(crate) fn remove(&self, step: u64) -> io::Result<()> {
        let removing = self.0.join(format!("{REMOVING_PREFIX}{}", step_name(step)));
        rename(&self.checkpoint(step), &removing)?;
        fs_err::remove_dir_all(removing)
    }

    fn entries(&self) -> io::Result<Vec<String>> {
        let entries = match fs_err::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }
}

fn remove_if_exists(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory_with(entries: &[&str]) -> (tempfile::TempDir, CheckpointDirectory) {
        let temp = tempfile::tempdir().unwrap();
        for entry in entries {
            fs_err::create_dir(temp.path().join(entry)).unwrap();
        }
        let directory = CheckpointDirectory::new(temp.path());
        (temp, directory)
    }

    #[test]
    fn only_step_directories_are_checkpoints() {
        let (_temp, directory) = directory_with(&[
            "step-00000020",
            "step-00000003",
            "step-123456789",
            "step-5",
            "step-0000000x",
            ".writing-step-00000030",
            "abandoned-step-00000040",
            "other",
        ]);
        assert_eq!(directory.steps().unwrap(), [3, 20, 123_456_789]);
        assert_eq!(CheckpointDirectory::new("/nowhere/at/all").steps().unwrap(), [] as [u64; 0]);
    }

    #[test]
    fn preparing_removes_partial_writes_and_abandons_later_checkpoints() {
        let entries = ["step-00000010", "step-00000020", ".writing-step-00000030", ".removing-step-00000005"];
        let (temp, directory) = directory_with(&entries);
        fs_err::write(temp.path().join(".writing-latest.4711-0"), "step-000").unwrap();
        directory.prepare(10).unwrap();
        assert_eq!(directory.steps().unwrap(), [10]);
        assert_eq!(fs_err::read_to_string(temp.path().join(LATEST_FILE)).unwrap(), "step-00000010\n");
        let mut left = directory.entries().unwrap();
        left.sort();
        assert_eq!(left, ["abandoned-step-00000020", "latest", "step-00000010"]);

        directory.prepare(0).unwrap();
        assert_eq!(directory.steps().unwrap(), [] as [u64; 0]);
        assert!(!temp.path().join(LATEST_FILE).exists());
    }

    #[test]
    fn publishing_gives_a_checkpoint_its_name() {
        let (temp, directory) = directory_with(&[".writing-step-00000030"]);
        directory.publish(30).unwrap();
        assert_eq!(directory.steps().unwrap(), [30]);
        directory.set_latest(30).unwrap();
        assert_eq!(fs_err::read_to_string(temp.path().join(LATEST_FILE)).unwrap(), "step-00000030\n");
        directory.remove(30).unwrap();
        assert_eq!(directory.entries().unwrap(), ["latest"]);
    }

    #[test]
    fn abandoned_checkpoints_do_not_replace_each_other() {
        let (temp, directory) = directory_with(&[]);
        for content in ["first", "second", "third"] {
            fs_err::create_dir_all(directory.checkpoint(20)).unwrap();
            fs_err::write(directory.checkpoint(20).join("weights"), content).unwrap();
            directory.prepare(10).unwrap();
        }
        let weights = |name: &str| fs_err::read_to_string(temp.path().join(name).join("weights")).unwrap();
        assert_eq!(
            ["abandoned-step-00000020", "abandoned-step-00000020-2", "abandoned-step-00000020-3"]
                .map(weights),
            ["first", "second", "third"]
        );
    }
}
