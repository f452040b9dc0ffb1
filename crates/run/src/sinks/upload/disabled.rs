//! The uploader of a build without remote storage.

use std::convert::Infallible;

use fineline_train::{SavedCheckpoint, Trainer};

use crate::config::RunConfig;
use crate::error::RunError;
use crate::prepare::Prepared;
use crate::records::events::Event;
use fineline_layout::RunDirectory;

/// Never constructed.
pub(crate) struct RunUploader(Infallible);

impl RunUploader {
    #[allow(clippy::unnecessary_wraps, reason = "as in a build with the feature")]
    pub(crate) fn start(
        _config: &RunConfig,
        _directory: &RunDirectory,
        _prepared: &Prepared,
        _trainer: &Trainer,
    ) -> Result<Option<Self>, RunError> {
        Ok(None)
    }

    pub(crate) fn enqueue(&mut self, _saved: &SavedCheckpoint) -> Option<Event> {
        match self.0 {}
    }

    pub(crate) fn poll_events(&mut self) -> Vec<Event> {
        match self.0 {}
    }

    pub(crate) fn finish(self, _tell: &mut dyn FnMut(Event)) {
        match self.0 {}
    }

    pub(crate) fn url(&self) -> &str {
        match self.0 {}
    }
}
