//! Where a run begins, after what was to be brought from elsewhere is here.

use super::super::resume::Resume;
use crate::records::events::Event;

/// Where the run begins, after what was to be brought from elsewhere is here.
pub(crate) struct Brought {
    pub(crate) resume: Resume,
    pub(crate) events: Vec<Event>,
}
