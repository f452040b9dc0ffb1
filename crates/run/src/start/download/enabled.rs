//! Downloads of runs from remote storage, before a start.

use std::path::Path;

use fineline_layout::{CHECKPOINTS_DIR, RUN_FILE, RunDirectory, parse_step_name, remote_checkpoint_path};
use fineline_storage::{RemoteRun, StorageError, Store};
use fineline_train::CheckpointDirectory;

use super::super::resume::ResumeRequest;
use super::downloaded::DownloadedRun;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::progress::RunProgress;
use crate::records::events::Event;
use crate::records::identity::RunIdentity;

/// Downloads the run from `storage.remote` if it is at a later step there than in its directory, or from the
/// address of `--resume`.
///
/// A run with local checkpoints also starts if the remote storage can't be reached.
///
/// # Errors
/// [`RunError::RemoteInUse`] if the remote storage has another run. Files that can't be downloaded.
pub(crate) fn download_run(
    config: &RunConfig,
    directory: &RunDirectory,
    resume: &ResumeRequest,
    progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<DownloadedRun, RunError> {
    let local = LocalRun::read(directory)?;
    let mut events = Vec::new();
    if let Some(address) = &config.storage.remote {
        progress(RunProgress::Preparing("looking for the run in storage.remote"));
        let run = RemoteRun::new(Store::open(address)?);
        match RemoteState::read(&run) {
            Err(error) if local.newest.is_some() && !matches!(resume, ResumeRequest::FromUrl(_)) => {
                events.push(unreachable(&error));
            }
            remote => {
                let remote = remote?;
                local.refuse_other_run(&remote, &run, resume)?;
                if matches!(resume, ResumeRequest::Auto) {
                    events.extend(local.catch_up(&run, &remote.steps, progress)?);
                }
            }
        }
    }
    let resume = match resume {
        ResumeRequest::FromUrl(address) => {
            let (resume, fetched) = local.fetch_from(address, progress)?;
            events.extend(fetched);
            resume
        }
        resume => resume.clone(),
    };
    Ok(DownloadedRun { resume, events })
}

fn unreachable(error: &StorageError) -> Event {
    let (what, reason) = ("what is in storage.remote".to_owned(), error.with_causes());
    Event::UploadFailed { what, reason, attempts: 1, retry_s: None }
}

/// The run in its directory.
struct LocalRun<'a> {
    directory: &'a RunDirectory,
    dir: CheckpointDirectory,
    identity: Option<RunIdentity>,
    /// Step of the newest checkpoint.
    newest: Option<u64>,
}

/// The run in remote storage.
struct RemoteState {
    identity: Option<RunIdentity>,
    /// Steps of complete checkpoints, ascending.
    steps: Vec<u64>,
}

impl RemoteState {
    fn read(run: &RemoteRun) -> Result<Self, StorageError> {
        let identity = run.identity()?.and_then(|json| RunIdentity::parse(Path::new(RUN_FILE), &json).ok());
        Ok(Self { identity, steps: run.steps()? })
    }
}

impl<'a> LocalRun<'a> {
    fn read(directory: &'a RunDirectory) -> Result<Self, RunError> {
        let dir = CheckpointDirectory::new(directory.checkpoints());
        let newest = dir.steps()?.last().copied();
        Ok(Self { directory, dir, identity: RunIdentity::read(directory)?, newest })
    }

    fn is_same_run(&self, remote: &RemoteState) -> bool {
        let created = |identity: &Option<RunIdentity>| identity.as_ref().map(|identity| identity.created);
        created(&self.identity) == created(&remote.identity)
    }

    /// Refuses to upload a run over another. An empty directory may become that of the remote run.
    fn refuse_other_run(
        &self,
        remote: &RemoteState,
        run: &RemoteRun,
        resume: &ResumeRequest,
    ) -> Result<(), RunError> {
        let becomes_it =
            self.identity.is_none() && matches!(resume, ResumeRequest::Auto | ResumeRequest::FromUrl(_));
        if remote.steps.is_empty() || becomes_it || self.is_same_run(remote) {
            return Ok(());
        }
        Err(RunError::RemoteInUse { url: run.store().url("") })
    }

    /// Downloads the newest complete checkpoint that is newer than the local ones.
    fn catch_up(
        &self,
        run: &RemoteRun,
        steps: &[u64],
        progress: &mut dyn FnMut(RunProgress<'_>),
    ) -> Result<Vec<Event>, RunError> {
        let newer =
            steps.iter().rev().copied().filter(|&step| self.newest.is_none_or(|newest| step > newest));
        let mut events = Vec::new();
        let mut last_damage = None;
        for step in newer {
            match self.fetch(run, step, progress) {
                Ok(fetched) => {
                    events.push(fetched);
                    return Ok(events);
                }
                Err(RunError::Storage(error @ StorageError::Damaged { .. })) => {
                    let path = run.store().url(&remote_checkpoint_path(step)).into();
                    events.push(Event::CheckpointDamaged { path, reason: error.with_causes() });
                    last_damage = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        match last_damage {
            Some(damage) if self.newest.is_none() => Err(damage.into()),
            _ => Ok(events),
        }
    }

    /// Downloads the files of the run, then the checkpoint. Until the checkpoint has its final name, the next
    /// start downloads again.
    fn fetch(
        &self,
        run: &RemoteRun,
        step: u64,
        progress: &mut dyn FnMut(RunProgress<'_>),
    ) -> Result<Event, RunError> {
        let url = run.store().url(&remote_checkpoint_path(step));
        progress(RunProgress::Preparing(&format!("fetching {url}")));
        run.fetch_files(self.directory.root())?;
        self.dir.receive(step, |dir| run.fetch_checkpoint(step, dir).map_err(RunError::from))?;
        Ok(Event::Downloaded { url })
    }

    /// Downloads the run at an address, or one of its checkpoints.
    fn fetch_from(
        &self,
        address: &str,
        progress: &mut dyn FnMut(RunProgress<'_>),
    ) -> Result<(ResumeRequest, Vec<Event>), RunError> {
        let (address, step) = split(address);
        let run = RemoteRun::new(Store::open(address)?);
        let remote = RemoteState::read(&run)?;
        let nothing = || RunError::NothingRemote { url: run.store().url(""), steps: remote.steps.clone() };
        if self.newest.is_some() && !self.is_same_run(&remote) {
            return Err(RunError::OtherRunsCheckpoint { path: address.into() });
        }
        let Some(step) = step else {
            remote.steps.last().ok_or_else(nothing)?;
            return Ok((ResumeRequest::Auto, self.catch_up(&run, &remote.steps, progress)?));
        };
        let checkpoint = self.dir.checkpoint(step);
        if checkpoint.is_dir() {
            return Ok((ResumeRequest::From(checkpoint), Vec::new()));
        }
        if !remote.steps.contains(&step) {
            return Err(nothing());
        }
        let fetched = self.fetch(&run, step, progress)?;
        Ok((ResumeRequest::From(checkpoint), vec![fetched]))
    }
}

/// Splits an address into that of a run and the step of a checkpoint, if it is that of a checkpoint.
fn split(address: &str) -> (&str, Option<u64>) {
    let address = address.trim_end_matches('/');
    let parts = address.rsplit_once(format!("/{CHECKPOINTS_DIR}/").as_str());
    match parts.and_then(|(run, name)| Some((run, parse_step_name(name)?))) {
        Some((run, step)) => (run, Some(step)),
        None => (address, None),
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn an_address_may_be_that_of_a_checkpoint() {
        assert_eq!(split("s3://b/run/checkpoints/step-00000200/"), ("s3://b/run", Some(200)));
        for whole in ["s3://b/run", "s3://b/checkpoints/step-x"] {
            assert_eq!(split(whole), (whole, None));
        }
    }
}
