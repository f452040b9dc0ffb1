//! What a build without stores says where one is asked for.

use super::super::resume::Resume;
use super::downloaded::Brought;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::progress::Progress;
use fineline_layout::RunDirectory;

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
