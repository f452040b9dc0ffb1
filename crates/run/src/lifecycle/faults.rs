//! Fault injection, to test the guard, checkpoints, and the supervision of a run.

use std::io;
use std::str::FromStr;
use std::time::Duration;

use fineline_data::Row;
use fineline_layout::WEIGHTS_FILE;
use fineline_ranks::Ranks;
use fineline_train::{
    MetricDistortion, MetricFault, Observer, ObserverError, RowSchedule, RowSource, SavedCheckpoint,
    StepReport, StepView, TrainerControl,
};
use fs_err as fs;
use serde_json::Value;

/// Faults to inject, and their steps: `nan_loss@12,spike@30x100,stall@20:2s`.
///
/// | fault | effect |
/// |---|---|
/// | `nan_loss@12`, `nan_gradient@14-16` | the loss, or the gradient norm, of the rows is not a number |
/// | `spike@30x100`, `gradient@30x100` | the loss, or the gradient norm, is 100 times as large |
/// | `stall@20:2s` | the rows are 2 seconds late |
/// | `hang@50` | after the step, the process sleeps forever; of several ranks, the last one does |
/// | `kill@40` | after the step, before its checkpoint, the process is killed |
/// | `torn_checkpoint@60` | the checkpoint of the step loses the last byte of its weights |
/// | `full_disk@70` | from the step on, checkpoints find the disk full |
///
/// The faults of the first three lines belong to the rows that an undisturbed run has at the step, as bad
/// data would. The others belong to the step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults {
    numbers: Vec<MetricFault>,
    steps: Vec<(u64, StepFault)>,
}

/// A fault at a step.
#[derive(Clone, Copy, Debug, PartialEq)]
enum StepFault {
    Stall(Duration),
    Hang,
    Kill,
    TornCheckpoint,
    FullDisk,
}

impl FromStr for Faults {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut faults = Self::default();
        for fault in text.split(',').map(str::trim).filter(|fault| !fault.is_empty()) {
            faults.add(fault).ok_or_else(|| {
                format!(
                    "`{fault}` isn't a fault: expected such as nan_loss@12, nan_gradient@14-16, \
                     spike@30x100, gradient@30x100, stall@20:2s, hang@50, kill@40, torn_checkpoint@60, \
                     full_disk@70"
                )
            })?;
        }
        Ok(faults)
    }
}

impl Faults {
    fn add(&mut self, fault: &str) -> Option<()> {
        let (name, at) = fault.split_once('@')?;
        let fault = match name {
            "nan_loss" => return self.distort(at, MetricDistortion::Loss(f32::NAN)),
            "nan_gradient" => return self.distort(at, MetricDistortion::GradNorm(f32::NAN)),
            "spike" | "gradient" => {
                let (at, factor) = at.split_once('x')?;
                let factor = factor.parse().ok()?;
                let distortion = if name == "spike" {
                    MetricDistortion::Loss(factor)
                } else {
                    MetricDistortion::GradNorm(factor)
                };
                return self.distort(at, distortion);
            }
            "stall" => {
                let (at, seconds) = at.split_once(':')?;
                let seconds = seconds.strip_suffix('s')?.parse().ok()?;
                self.steps
                    .push((at.parse().ok()?, StepFault::Stall(Duration::try_from_secs_f64(seconds).ok()?)));
                return Some(());
            }
            "hang" => StepFault::Hang,
            "kill" => StepFault::Kill,
            "torn_checkpoint" => StepFault::TornCheckpoint,
            "full_disk" => StepFault::FullDisk,
            _ => return None,
        };
        self.steps.push((at.parse().ok()?, fault));
        Some(())
    }

    fn distort(&mut self, steps: &str, distortion: MetricDistortion) -> Option<()> {
        let (first, last) = steps.split_once('-').unwrap_or((steps, steps));
        let steps = first.parse().ok()?..=last.parse().ok()?;
        self.numbers.push(MetricFault { steps, distortion });
        Some(())
    }

    /// Returns the faults of losses and gradients.
    pub(crate) fn numbers(&self) -> Vec<MetricFault> {
        self.numbers.clone()
    }

    /// Returns the delay of the rows of a step.
    fn stall(&self, step: u64) -> Option<Duration> {
        let delay = |&(at, fault): &(u64, StepFault)| match fault {
            StepFault::Stall(duration) if at == step => Some(duration),
            _ => None,
        };
        self.steps.iter().find_map(delay)
    }

    /// Wraps a source of rows, some of which are delayed.
    pub(crate) fn rows<'a>(&'a self, rows: &'a dyn RowSource, global_batch_size: usize) -> DelayedRows<'a> {
        DelayedRows { rows, schedule: RowSchedule::without_skips(global_batch_size), faults: self }
    }

    /// Returns the observer that injects the other faults.
    pub(crate) fn observer<'a>(&'a self, ranks: &'a dyn Ranks) -> FaultObserver<'a> {
        FaultObserver { faults: self, ranks }
    }

    fn is_due(&self, step: u64, fault: StepFault) -> bool {
        self.steps.contains(&(step, fault))
    }
}

/// Rows, some of which are delayed.
pub(crate) struct DelayedRows<'a> {
    rows: &'a dyn RowSource,
    schedule: RowSchedule,
    faults: &'a Faults,
}

impl RowSource for DelayedRows<'_> {
    fn row(&self, index: u64) -> Row {
        let step = self.schedule.step_of(index);
        let is_first = self.schedule.first_row_of(step) == index;
        if let Some(late) = is_first.then(|| self.faults.stall(step)).flatten() {
            std::thread::sleep(late);
        }
        self.rows.row(index)
    }

    fn chunk_end(&self, index: u64) -> Option<u64> {
        self.rows.chunk_end(index)
    }
}

/// Injects the faults that belong to steps.
pub(crate) struct FaultObserver<'a> {
    faults: &'a Faults,
    ranks: &'a dyn Ranks,
}

impl Observer for FaultObserver<'_> {
    fn on_step(
        &mut self,
        report: &StepReport,
        _view: &StepView<'_>,
    ) -> Result<TrainerControl, ObserverError> {
        if self.faults.is_due(report.step, StepFault::Kill) {
            signal_hook::low_level::raise(signal_hook::consts::SIGKILL)?;
        }
        let is_last = self.ranks.rank() + 1 == self.ranks.size();
        while is_last && self.faults.is_due(report.step, StepFault::Hang) {
            std::thread::sleep(Duration::from_secs(1));
        }
        Ok(TrainerControl::Continue)
    }

    fn before_checkpoint(&mut self, view: &StepView<'_>) -> Result<Option<(String, Value)>, ObserverError> {
        let is_full = |&(at, fault): &(u64, StepFault)| fault == StepFault::FullDisk && view.step >= at;
        if self.faults.steps.iter().any(is_full) {
            return Err(io::Error::from(io::ErrorKind::StorageFull).into());
        }
        Ok(None)
    }

    fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Result<(), ObserverError> {
        if self.faults.is_due(saved.step, StepFault::TornCheckpoint) {
            let weights = fs::OpenOptions::new().write(true).open(saved.path.join(WEIGHTS_FILE))?;
            weights.set_len(weights.metadata()?.len() - 1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read() {
        let faults: Faults = "spike@30-32x100, gradient@7x0.5,stall@20:2.5s,kill@40".parse().unwrap();
        let steps: Vec<_> =
            faults.numbers().into_iter().map(|fault| (fault.steps, fault.distortion)).collect();
        assert_eq!(
            steps,
            [(30..=32, MetricDistortion::Loss(100.0)), (7..=7, MetricDistortion::GradNorm(0.5))]
        );
        assert_eq!(faults.stall(20), Some(Duration::from_millis(2500)));
        assert_eq!(faults.stall(40), None);
        assert!(faults.is_due(40, StepFault::Kill));
        let nan: Faults = "nan_loss@12,nan_gradient@14".parse().unwrap();
        assert!(matches!(nan.numbers[0].distortion, MetricDistortion::Loss(factor) if factor.is_nan()));
        assert_eq!("".parse::<Faults>().unwrap(), Faults::default());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in
            ["spike@30", "nan_loss", "nan_loss@x", "stall@20:2", "stall@20:-1s", "explode@3", "kill@3-4"]
        {
            let error = text.parse::<Faults>().unwrap_err();
            assert!(error.starts_with(&format!("`{text}` isn't a fault")), "{error}");
        }
    }
}
