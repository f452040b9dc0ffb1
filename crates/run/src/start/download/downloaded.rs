//! Where a run begins, after what was to be brought from elsewhere is here.

use super::super::resume::ResumeRequest;
use crate::records::events::Event;

/// Where the run begins, after what was to be brought from elsewhere is here.
pub(crate) struct DownloadedRun {
    pub(crate) resume: ResumeRequest,
    pub(crate) events: Vec<Event>,
}
