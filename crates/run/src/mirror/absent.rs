//! What a build without stores says where one is asked for.

use std::convert::Infallible;

use fineline_train::{SavedCheckpoint, Trainer};

use crate::config::RunConfig;
use crate::directory::RunDirectory;
use crate::events::Event;
use crate::lifecycle::Resume;
use crate::prepare::Prepared;
use crate::{Progress, RunError};

/// What is wrong with `storage.mirror`.
pub(crate) fn problem(config: &RunConfig) -> Option<String> {
    let mirror = config.storage.mirror.as_ref()?;
    Some(format!("is \"{mirror}\", which this build can't use; build it with `--features storage`"))
}

/// Where the run begins.
pub(crate) struct Brought {
    pub(crate) resume: Resume,
    pub(crate) events: Vec<Event>,
}

/// Refuses what is at an address.
pub(crate) fn bring(
    _config: &RunConfig,
    _directory: &RunDirectory,
    resume: &Resume,
    _progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Brought, RunError> {
    match resume {
        Resume::FromUrl(address) => Err(RunError::NoStorage { address: address.clone() }),
        resume => Ok(Brought { resume: resume.clone(), events: Vec::new() }),
    }
}

/// Never there.
pub(crate) struct Mirroring(Infallible);

impl Mirroring {
    #[allow(clippy::unnecessary_wraps, reason = "as in a build with the feature")]
    pub(crate) fn start(
        _config: &RunConfig,
        _directory: &RunDirectory,
        _prepared: &Prepared,
        _trainer: &Trainer,
    ) -> Result<Option<Self>, RunError> {
        Ok(None)
    }

    pub(crate) fn offer(&mut self, _saved: &SavedCheckpoint) -> Option<Event> {
        match self.0 {}
    }

    pub(crate) fn news(&mut self) -> Vec<Event> {
        match self.0 {}
    }

    pub(crate) fn finish(self, _tell: &mut dyn FnMut(Event)) {
        match self.0 {}
    }

    pub(crate) fn url(&self) -> &str {
        match self.0 {}
    }
}
