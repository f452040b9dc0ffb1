//! Downloads of a build without remote storage.

use super::super::resume::ResumeRequest;
use super::downloaded::DownloadedRun;
use crate::config::RunConfig;
use crate::error::RunError;
use crate::progress::RunProgress;
use fineline_layout::RunDirectory;

/// Refuses the address of a run.
///
/// # Errors
/// [`RunError::NoStorage`].
pub(crate) fn download_run(
    _config: &RunConfig,
    _directory: &RunDirectory,
    resume: &ResumeRequest,
    _progress: &mut dyn FnMut(RunProgress<'_>),
) -> Result<DownloadedRun, RunError> {
    match resume {
        ResumeRequest::FromUrl(address) => Err(RunError::NoStorage { address: address.clone() }),
        resume => Ok(DownloadedRun { resume: resume.clone(), events: Vec::new() }),
    }
}
