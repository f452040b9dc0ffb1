//! Result of looking for a run in remote storage.

use super::super::resume::ResumeRequest;
use crate::records::events::Event;

/// State to start from, and events to log, after a run was downloaded if necessary.
pub(crate) struct DownloadedRun {
    pub(crate) resume: ResumeRequest,
    pub(crate) events: Vec<Event>,
}
