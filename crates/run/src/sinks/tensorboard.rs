//! Event files for TensorBoard.

use std::io::BufWriter;
use std::path::{Path, PathBuf};

use fineline_files::create_directory;
use fs_err as fs;
use tfrecord::protobuf::event::What;
use tfrecord::protobuf::{SessionLog, session_log::SessionStatus};
use tfrecord::{EventMeta, EventWriter, EventWriterConfig};

use crate::error::RunError;

/// Writes scalars for TensorBoard.
pub(crate) struct TensorBoard {
    path: PathBuf,
    writer: EventWriter<BufWriter<fs::File>>,
}

impl TensorBoard {
    /// Creates an event file in `dir` for the steps after `step`. Its first event makes TensorBoard
    /// discard later steps of earlier files.
    ///
    /// # Errors
    /// [`RunError::TensorBoard`] if it can't be written.
    pub(crate) fn resume(dir: &Path, step: u64) -> Result<Self, RunError> {
        create_directory(dir)?;
        let started = jiff::Timestamp::now().as_microsecond();
        let path = dir.join(format!("events.out.tfevents.{started}.fineline"));
        let file = BufWriter::new(fs::File::create(&path)?);
        let failed = |source| RunError::TensorBoard { path: path.clone(), source: Box::new(source) };
        let mut writer =
            EventWriter::from_writer(file, EventWriterConfig { auto_flush: false }).map_err(failed)?;
        let mut start = EventMeta::with_step(to_event_step(step + 1)).build_empty();
        start.what = Some(What::SessionLog(SessionLog {
            status: SessionStatus::Start.into(),
            ..SessionLog::default()
        }));
        writer.write_event(start).map_err(failed)?;
        Ok(Self { path, writer })
    }

    /// Records the value of `tag` at `step`.
    pub(crate) fn scalar(&mut self, tag: &str, step: u64, value: f32) -> Result<(), RunError> {
        let written = self.writer.write_scalar(tag, EventMeta::with_step(to_event_step(step)), value);
        written.map_err(|source| self.failed(source))
    }

    /// Passes the recorded values to the operating system.
    pub(crate) fn flush(&mut self) -> Result<(), RunError> {
        let flushed = self.writer.flush();
        flushed.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: tfrecord::error::Error) -> RunError {
        RunError::TensorBoard { path: self.path.clone(), source: Box::new(source) }
    }
}

fn to_event_step(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}
