//! The directory of a run's checkpoints.

use std::io;
use std::path::{Path, PathBuf};

use fineline_files::{
    TEMPORARY_PREFIX, create_directory, remove_temporary_files, rename, replace_symlink, sync_directory,
    write_atomically,
};

use crate::checkpoint::config::CheckpointMilestones;
use crate::checkpoint::manifest::verify_checkpoint;
use crate::error::TrainError;

/// Name of the file that holds the name of the newest checkpoint.
const LATEST: &str = "latest";
/// A checkpoint being removed.
const REMOVING: &str = ".removing-";
/// A checkpoint of steps that the run has gone back behind.
const ABANDONED: &str = "abandoned-";

/// The folder `checkpoints/` of a run.
#[derive(Clone, Debug)]
pub struct CheckpointDirectory(PathBuf);

/// What there is to resume from.
#[derive(Debug)]
pub struct CheckpointScan {
    /// The newest checkpoint whose files are all what its manifest says.
    pub newest_whole: Option<PathBuf>,
    /// Newer ones that are not: a [`TrainError::Damaged`] each.
    pub damaged: Vec<TrainError>,
}

impl CheckpointDirectory {
    /// The folder at this path, which need not exist yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// The checkpoint of a step, whether it exists or not.
    #[must_use]
    pub fn checkpoint(&self, step: u64) -> PathBuf {
        self.0.join(name(step))
    }

    /// The steps of which there are checkpoints, ascending. Empty if there is no folder yet.
    pub fn steps(&self) -> Result<Vec<u64>, TrainError> {
        let mut steps: Vec<u64> = self.entries()?.iter().filter_map(|entry| step_of(entry)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Looks for a checkpoint to resume from, newest first, and verifies the hashes of what it finds.
    ///
    /// # Errors
    /// [`TrainError::Io`] if a file cannot be read: its checkpoint may be whole, and an older one would undo its steps.
    pub fn newest_whole(&self) -> Result<CheckpointScan, TrainError> {
        self.newest_whole_until(u64::MAX)
    }

    /// The same among the checkpoints that are not after step `last`.
    pub fn newest_whole_until(&self, last: u64) -> Result<CheckpointScan, TrainError> {
        let mut damaged = Vec::new();
        for step in self.steps()?.into_iter().rev().filter(|&step| step <= last) {
            let path = self.checkpoint(step);
            match verify_checkpoint(&path) {
                Ok(()) => return Ok(CheckpointScan { newest_whole: Some(path), damaged }),
                Err(error @ TrainError::Damaged { .. }) => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok(CheckpointScan { newest_whole: None, damaged })
    }

    /// Makes the folder ready for a run that stands at `step`: it is created if need be, remains of interrupted
    /// writes are removed, and checkpoints beyond `step` (damaged ones, or those of a future that the run has gone
    /// back behind) are renamed to `abandoned-...`, where nothing will find them by mistake.
    pub fn prepare(&self, step: u64) -> Result<(), TrainError> {
        create_directory(&self.0)?;
        remove_temporary_files(&self.0)?;
        for entry in self.entries()?.iter().filter(|entry| entry.starts_with(REMOVING)) {
            fs_err::remove_dir_all(self.0.join(entry))?;
        }
        let steps = self.steps()?;
        // The newest first: what a kill in between leaves must not be newer than what it has taken away.
        for &beyond in steps.iter().rev().filter(|&&beyond| beyond > step) {
            self.abandon(beyond)?;
        }
        self.remove_dangling_links()?;
        match steps.iter().rfind(|&&kept| kept <= step) {
            Some(&newest) => self.set_latest(newest),
            None => remove_if_there(&self.0.join(LATEST)),
        }?;
        Ok(())
    }

    /// Removes the links to checkpoints that are no longer there under their names.
    fn remove_dangling_links(&self) -> io::Result<()> {
        for link in self.entries()?.iter().map(|entry| self.0.join(entry)).filter(|path| path.is_symlink()) {
            if !link.exists() {
                fs_err::remove_file(link)?;
            }
        }
        Ok(())
    }

    /// Gives the checkpoint of a step a second name, where the system has links.
    pub(crate) fn link(&self, link: &str, step: u64) -> io::Result<()> {
        match replace_symlink(&self.0.join(link), &name(step)) {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(()),
            linked => linked,
        }
    }

    /// The checkpoints that have a second name here: those that are kept for good, as far as the run has come.
    pub fn milestones(&self) -> io::Result<CheckpointMilestones> {
        let links = self.entries()?.into_iter().filter(|entry| self.0.join(entry).is_symlink());
        let mut milestones = CheckpointMilestones::new();
        for link in links {
            let named = fs_err::read_link(self.0.join(&link))?;
            if let Some(step) = named.to_str().and_then(step_of) {
                milestones.insert(step, link);
            }
        }
        Ok(milestones)
    }

    /// Sets a checkpoint aside. One that was set aside before stays: a second gets a number behind its name.
    fn abandon(&self, step: u64) -> io::Result<()> {
        let first = format!("{ABANDONED}{}", name(step));
        let entries = self.entries()?;
        let mut free = first.clone();
        let mut number = 1;
        while entries.contains(&free) {
            number += 1;
            free = format!("{first}-{number}");
        }
        rename(&self.checkpoint(step), &self.0.join(free))
    }

    /// Where the checkpoint of a step is written before it gets its name.
    pub(crate) fn writing(&self, step: u64) -> PathBuf {
        self.0.join(format!("{TEMPORARY_PREFIX}{}", name(step)))
    }

    /// Takes in a checkpoint from elsewhere: `fill` writes its files into the folder that it is given, and it gets its name if it is whole. One of the same
    /// step that is there is set aside.
    ///
    /// # Errors
    /// What `fill` or the file system says; [`TrainError::Damaged`] if the files aren't what their manifest says.
    pub fn receive<E: From<TrainError>>(
        &self,
        step: u64,
        fill: impl FnOnce(&Path) -> Result<(), E>,
    ) -> Result<PathBuf, E> {
        let io = |error: io::Error| E::from(TrainError::Io(error));
        let writing = self.writing(step);
        create_directory(&self.0).map_err(io)?;
        if writing.exists() {
            fs_err::remove_dir_all(&writing).map_err(io)?;
        }
        fs_err::create_dir(&writing).map_err(io)?;
        fill(&writing)?;
        verify_checkpoint(&writing)?;
        if self.checkpoint(step).exists() {
            self.abandon(step).map_err(io)?;
        }
        self.publish(step).map_err(io)?;
        Ok(self.checkpoint(step))
    }

    /// Gives a checkpoint whose files are wholly on the disk its name. Once this has returned well, it stands.
    pub(crate) fn publish(&self, step: u64) -> io::Result<()> {
        let writing = self.writing(step);
        sync_directory(&writing)?;
        rename(&writing, &self.checkpoint(step))
    }

    /// Writes the name of this checkpoint into the file `latest`: for people and other tools, a run looks for itself.
    pub(crate) fn set_latest(&self, step: u64) -> io::Result<()> {
        write_atomically(&self.0.join(LATEST), format!("{}\n", name(step)).as_bytes())
    }

    /// Removes a checkpoint. It loses its name first, so that no half of it is ever found.
    pub(crate) fn remove(&self, step: u64) -> io::Result<()> {
        let removing = self.0.join(format!("{REMOVING}{}", name(step)));
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

fn name(step: u64) -> String {
    format!("step-{step:08}")
}

fn step_of(entry: &str) -> Option<u64> {
    let digits = entry.strip_prefix("step-")?;
    let step = digits.parse().ok()?;
    (name(step) == entry).then_some(step)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs_err::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(entries: &[&str]) -> (tempfile::TempDir, CheckpointDirectory) {
        let temp = tempfile::tempdir().unwrap();
        for entry in entries {
            fs_err::create_dir(temp.path().join(entry)).unwrap();
        }
        let folder = CheckpointDirectory::new(temp.path());
        (temp, folder)
    }

    #[test]
    fn only_checkpoints_are_checkpoints() {
        let (_temp, folder) = folder_with(&[
            "step-00000020",
            "step-00000003",
            "step-123456789",
            "step-5",
            "step-0000000x",
            ".writing-step-00000030",
            "abandoned-step-00000040",
            "other",
        ]);
        assert_eq!(folder.steps().unwrap(), [3, 20, 123_456_789]);
        assert_eq!(CheckpointDirectory::new("/nowhere/at/all").steps().unwrap(), [] as [u64; 0]);
    }

    #[test]
    fn preparing_clears_remains_and_futures() {
        let entries = ["step-00000010", "step-00000020", ".writing-step-00000030", ".removing-step-00000005"];
        let (temp, folder) = folder_with(&entries);
        fs_err::write(temp.path().join(".writing-latest.4711-0"), "step-000").unwrap();
        folder.prepare(10).unwrap();
        assert_eq!(folder.steps().unwrap(), [10]);
        assert_eq!(fs_err::read_to_string(temp.path().join(LATEST)).unwrap(), "step-00000010\n");
        let mut left = folder.entries().unwrap();
        left.sort();
        assert_eq!(left, ["abandoned-step-00000020", "latest", "step-00000010"]);

        folder.prepare(0).unwrap();
        assert_eq!(folder.steps().unwrap(), [] as [u64; 0]);
        assert!(!temp.path().join(LATEST).exists());
    }

    #[test]
    fn a_checkpoint_gets_its_name_at_once() {
        let (temp, folder) = folder_with(&[".writing-step-00000030"]);
        folder.publish(30).unwrap();
        assert_eq!(folder.steps().unwrap(), [30]);
        folder.set_latest(30).unwrap();
        assert_eq!(fs_err::read_to_string(temp.path().join(LATEST)).unwrap(), "step-00000030\n");
        folder.remove(30).unwrap();
        assert_eq!(folder.entries().unwrap(), ["latest"]);
    }
    #[test]
    fn a_second_future_does_not_replace_the_first() {
        let (temp, folder) = folder_with(&[]);
        for future in ["first", "second", "third"] {
            fs_err::create_dir_all(folder.checkpoint(20)).unwrap();
            fs_err::write(folder.checkpoint(20).join("weights"), future).unwrap();
            folder.prepare(10).unwrap();
        }
        let weights = |name: &str| fs_err::read_to_string(temp.path().join(name).join("weights")).unwrap();
        assert_eq!(
            ["abandoned-step-00000020", "abandoned-step-00000020-2", "abandoned-step-00000020-3"]
                .map(weights),
            ["first", "second", "third"]
        );
    }
}
