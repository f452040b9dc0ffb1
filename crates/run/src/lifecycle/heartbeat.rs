//! Heartbeats: report steps that hang, and detect ranks that are dead or hang.
//!
//! A step that takes much longer than those before is reported while it lasts, because it may never end.
//!
//! MPI waits forever for a rank that doesn't call a collective. Therefore each rank has a thread that writes
//! its status twice a second into `.ranks/` of the run's directory, which all ranks share. A rank that has
//! waited longer than `distributed.timeout_s` reads the status of the others, and aborts the job with a
//! message that names the ranks it waited for.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use fineline_files::{create_directory, write_atomically};
use fineline_ranks::{ActivitySnapshot, MonitoredRanks, RankActivity, RankStatus, Ranks};
use fineline_train::{LateStep, StepClock};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::config::RunConfig;
use crate::error::RunError;

/// Interval between two heartbeats of a rank.
const INTERVAL: Duration = Duration::from_millis(500);
/// A rank without a heartbeat for this long is stopped or gone. Clocks of hosts may differ by less.
const SILENCE_S: f64 = 10.0;

/// The status of a rank, as it is written to its file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Heartbeat {
    rank: usize,
    host: String,
    pid: u32,
    /// Time of writing.
    at: Timestamp,
    /// Name of the collective or of the work that the rank was in.
    status: String,
    /// Whether it was waiting in a collective.
    waiting: bool,
    /// Whether it was doing work that may take long.
    busy: bool,
    /// Seconds since it started doing that.
    elapsed_s: f64,
    /// Number of collectives that it had called.
    collectives: u64,
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rank {} (process {} on {})", self.rank, self.pid, self.host)
    }
}

/// The thread that writes heartbeats and checks those of the other ranks. It ends when this is dropped.
pub(crate) struct HeartbeatMonitor {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HeartbeatMonitor {
    /// Starts to monitor the steps of this rank, and the other ranks.
    pub(crate) fn start(
        give_up: Option<fn(&str) -> !>,
        dir: PathBuf,
        config: &RunConfig,
        ranks: &MonitoredRanks<'_>,
        clock: Arc<StepClock>,
    ) -> Result<Self, RunError> {
        if ranks.is_first() && ranks.size() > 1 {
            // Heartbeats of a killed job don't count.
            if dir.exists() {
                fs_err::remove_dir_all(&dir)?;
            }
            create_directory(&dir)?;
        }
        ranks.barrier();
        let mut heartbeat = HeartbeatThread {
            rank: ranks.rank(),
            size: ranks.size(),
            host: sysinfo::System::host_name().unwrap_or_else(|| "an unnamed host".to_owned()),
            timeout_s: config.distributed.timeout_s as f64,
            dir,
            activity: ranks.activity(),
            give_up,
            clock,
            reported: None,
        };
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                heartbeat.update();
            }
            heartbeat.remove_heartbeat();
        })?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for HeartbeatMonitor {
    fn drop(&mut self) {
        drop(self.stop.take());
        // A panic of the thread prints its own message, and training is over.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// State of the thread.
struct HeartbeatThread {
    rank: usize,
    size: usize,
    host: String,
    timeout_s: f64,
    dir: PathBuf,
    activity: Arc<RankActivity>,
    give_up: Option<fn(&str) -> !>,
    clock: Arc<StepClock>,
    /// The delayed step that was reported last, with its delay at that time.
    reported: Option<LateStep>,
}

impl HeartbeatThread {
    fn heartbeat(&self) -> Heartbeat {
        let ActivitySnapshot { status, elapsed, collectives } = self.activity.snapshot();
        let (waiting, busy, status) = match status {
            RankStatus::Working => (false, false, "its part of a step"),
            RankStatus::Waiting(name) => (true, false, name),
            RankStatus::Busy(name) => (false, true, name),
        };
        Heartbeat {
            rank: self.rank,
            host: self.host.clone(),
            pid: std::process::id(),
            at: Timestamp::now(),
            status: status.to_owned(),
            waiting,
            busy,
            elapsed_s: elapsed.as_secs_f64(),
            collectives,
        }
    }

    fn update(&mut self) {
        let own = self.heartbeat();
        if self.size == 1 {
            return self.report_if_late(&own);
        }
        // If the disk is full, logs and checkpoints report it.
        let _ = write_beat(&self.dir, &own);
        if self.rank == 0 {
            self.report_if_late(&own);
        }
        // Rank 0 reports first, because one message is enough.
        let patience_s = self.timeout_s + 2.0 * self.rank.min(3) as f64;
        if let Some(give_up) = self.give_up.filter(|_| own.waiting && own.elapsed_s > patience_s)
            && let Some(reason) = abort_reason(&own, &self.others())
        {
            give_up(&reason);
        }
    }

    /// Reports that the current step is delayed, and again whenever the delay has doubled.
    fn report_if_late(&mut self, own: &Heartbeat) {
        let Some(late) = self.clock.late() else { return };
        let is_due = |last: LateStep| last.step != late.step || late.seconds >= 2.0 * last.seconds;
        if self.reported.is_none_or(is_due) {
            let others = if self.size > 1 { self.others() } else { Vec::new() };
            tracing::warn!("{}", describe_late_step(&late, own, &others));
            self.reported = Some(late);
        }
    }

    /// Reads the last heartbeats of all ranks.
    fn others(&self) -> Vec<Option<Heartbeat>> {
        (0..self.size).map(|rank| read_beat(&self.dir, rank)).collect()
    }

    fn remove_heartbeat(&self) {
        if self.size == 1 {
            return;
        }
        let _ = fs_err::remove_file(beat_path(&self.dir, self.rank));
        // Only the last rank to leave finds the directory empty.
        let _ = fs_err::remove_dir(&self.dir);
    }
}

fn beat_path(dir: &Path, rank: usize) -> PathBuf {
    dir.join(format!("rank-{rank:05}.json"))
}

fn write_beat(dir: &Path, beat: &Heartbeat) -> io::Result<()> {
    write_atomically(&beat_path(dir, beat.rank), &serde_json::to_vec(beat)?)
}

/// Returns `None` for a rank that has never written, or whose file can't be read.
fn read_beat(dir: &Path, rank: usize) -> Option<Heartbeat> {
    serde_json::from_slice(&fs_err::read(beat_path(dir, rank)).ok()?).ok()
}

/// Returns why a rank that has waited too long must give up. `None` as long as another rank does work that
/// may take long.
fn abort_reason(own: &Heartbeat, others: &[Option<Heartbeat>]) -> Option<String> {
    let waited = format!("rank {} has waited {:.0} s for {}", own.rank, own.elapsed_s, own.status);
    let others_busy = others
        .iter()
        .flatten()
        .any(|beat| beat.rank != own.rank && beat.busy && silent_s(own, beat) <= SILENCE_S);
    if others_busy {
        return None;
    }
    let mut missing = missing_ranks(own, others);
    if missing.is_empty() {
        missing.push(
            "all ranks are alive and wait for each other: the network between their hosts is interrupted \
             or too slow"
                .to_owned(),
        );
    }
    Some(format!(
        "{waited} (distributed.timeout_s), and aborts the job: {}. Start the run again to resume from the \
         newest checkpoint",
        missing.join("; ")
    ))
}

/// Describes a delayed step, and the ranks that this rank waits for.
fn describe_late_step(late: &LateStep, own: &Heartbeat, others: &[Option<Heartbeat>]) -> String {
    let LateStep { step, seconds, limit } = late;
    let late = format!(
        "step {step} has taken {seconds:.0} s so far; the median is {:.3} s, and the limit {:.1} s \
         (guard.stall.factor)",
        limit.median, limit.seconds
    );
    if !own.waiting {
        return late;
    }
    let waits = format!("{late}. Rank {} waits for {}", own.rank, own.status);
    let missing = missing_ranks(own, others);
    if missing.is_empty() { waits } else { format!("{waits}: {}", missing.join("; ")) }
}

/// Returns the seconds since the other rank's last heartbeat.
fn silent_s(own: &Heartbeat, other: &Heartbeat) -> f64 {
    own.at.duration_since(other.at).as_secs_f64()
}

/// Describes the ranks that this rank waits for.
fn missing_ranks(own: &Heartbeat, others: &[Option<Heartbeat>]) -> Vec<String> {
    let mut missing = Vec::new();
    for (rank, beat) in others.iter().enumerate().filter(|(rank, _)| *rank != own.rank) {
        match beat {
            None => missing.push(format!("rank {rank} has written no heartbeat")),
            Some(beat) if silent_s(own, beat) > SILENCE_S => missing.push(format!(
                "{beat} has written no heartbeat for {:.0} s: it is stopped, or its host is down",
                silent_s(own, beat)
            )),
            Some(beat) if beat.collectives < own.collectives => missing.push(format!(
                "{beat} is missing: it has been at {} for {:.0} s",
                beat.status, beat.elapsed_s
            )),
            Some(_) => {}
        }
    }
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(rank: usize, status: &str, collectives: u64) -> Heartbeat {
        Heartbeat {
            rank,
            host: "node7".to_owned(),
            pid: 40 + rank as u32,
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            status: status.to_owned(),
            waiting: false,
            busy: false,
            elapsed_s: 61.0,
            collectives,
        }
    }

    fn waiting(rank: usize) -> Heartbeat {
        Heartbeat { waiting: true, ..beat(rank, "an all-to-all of gradients", 7) }
    }

    fn found(others: &[Option<Heartbeat>]) -> Option<String> {
        abort_reason(&waiting(0), others)
    }

    #[test]
    fn the_missing_rank_is_named() {
        let others = vec![Some(waiting(0)), Some(waiting(1)), Some(beat(2, "its part of a step", 6))];
        let message = found(&others).unwrap();
        assert!(message.starts_with("rank 0 has waited 61 s for an all-to-all of gradients"), "{message}");
        assert!(message.contains("rank 2 (process 42 on node7) is missing"), "{message}");
        assert!(!message.contains("rank 1 "), "{message}");
    }

    #[test]
    fn a_silent_rank_is_named() {
        let silent = Heartbeat { at: "2025-12-31T23:59:20Z".parse().unwrap(), ..waiting(1) };
        let message = found(&[Some(waiting(0)), Some(silent), None]).unwrap();
        assert!(
            message.contains("rank 1 (process 41 on node7) has written no heartbeat for 40 s"),
            "{message}"
        );
        assert!(message.contains("rank 2 has written no heartbeat"), "{message}");
    }

    #[test]
    fn ranks_that_all_wait_are_cut_off() {
        let message = found(&[Some(waiting(0)), Some(waiting(1))]).unwrap();
        assert!(message.contains("the network between their hosts is interrupted"), "{message}");
    }

    #[test]
    fn long_work_is_waited_for() {
        let evaluating = Heartbeat { busy: true, ..beat(1, "probes", 6) };
        assert_eq!(found(&[Some(waiting(0)), Some(evaluating)]), None);
    }

    #[test]
    fn a_late_step_names_the_missing_ranks() {
        let limit = fineline_train::StepLimit { median: 1.25, seconds: 12.5 };
        let late = LateStep { step: 57, seconds: 13.2, limit };
        let message =
            "step 57 has taken 13 s so far; the median is 1.250 s, and the limit 12.5 s (guard.stall.factor)";
        assert_eq!(describe_late_step(&late, &beat(0, "its part of a step", 6), &[]), message);
        let others = vec![Some(waiting(0)), Some(beat(1, "its part of a step", 6))];
        let message = format!(
            "{message}. Rank 0 waits for an all-to-all of gradients: rank 1 (process 41 on node7) is \
             missing: it has been at its part of a step for 61 s"
        );
        assert_eq!(describe_late_step(&late, &waiting(0), &others), message);
    }

    #[test]
    fn heartbeats_are_read_back() {
        let temp = tempfile::tempdir().unwrap();
        write_beat(temp.path(), &waiting(3)).unwrap();
        assert_eq!(read_beat(temp.path(), 3), Some(waiting(3)));
        assert_eq!(read_beat(temp.path(), 4), None);
    }
}
