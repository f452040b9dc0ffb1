//! A run that is ready for its next step.

use std::sync::Arc;

use burn::tensor::Device;
use fineline_layout::RUN_SCHEMA;
use fineline_ranks::Ranks;
use fineline_train::{Division, StepClock, Trainer};

use super::prepared_run::{PreparedRun, refuse_shorter_run};
use super::rewinds::rows_skipped_at;

use crate::config::{RunConfig, TriggerConfig};
use crate::error::RunError;
use crate::prepare::Prepared;
use crate::progress::RunProgress;
use crate::records::events::Event;
use crate::records::identity::RunIdentity;
use crate::sinks::logs::{Logs, UnwrittenLogs};
use crate::sinks::prometheus::PrometheusServer;
use crate::start::initial_state::InitialState;

/// Device, division and services of a rank.
pub(super) struct RankContext<'a> {
    pub(super) device: &'a Device,
    pub(super) division: &'a Division,
    pub(super) ranks: &'a dyn Ranks,
    /// Clock of the current step, for the heartbeat.
    pub(super) clock: Arc<StepClock>,
    /// Server of metrics for Prometheus.
    pub(super) metrics: Option<&'a PrometheusServer>,
    /// Events from before the logs were open.
    pub(super) earlier_events: Vec<Event>,
}

/// A run that is ready for its next step.
pub(super) struct StartedRun {
    pub(super) trainer: Trainer,
    /// Whether the run is resumed from its own checkpoint.
    pub(super) is_resumed: bool,
    /// Log lines that a checkpoint carries.
    pub(super) unwritten: UnwrittenLogs,
    /// Events to log first.
    pub(super) events: Vec<Event>,
    /// Whether to write a checkpoint before the first step.
    pub(super) needs_checkpoint: bool,
    pub(super) parameters: u64,
}

impl StartedRun {
    /// Chooses the starting state on all ranks, and writes the identity of the run.
    pub(super) fn find(ready: &PreparedRun<'_>, context: &RankContext<'_>) -> Result<Self, RunError> {
        let &RankContext { device, division, ranks, .. } = context;
        let &PreparedRun { resolved, options, directory, ref prepared, .. } = ready;
        let config = &resolved.config;
        ranks.set_status("looking for the newest complete checkpoint");
        let start = InitialState::find(&ready.resume_context(), division, device, ranks)?;
        refuse_shorter_run(resolved, start.step())?;
        let is_resumed = start.is_resumed();
        let data_changes = ready.data_changes(is_resumed)?;
        let identity = identify(config, prepared, &start, ready.stored.as_ref(), ranks);
        ranks.barrier();
        if ranks.is_first() {
            identity.write(directory, config)?;
        }
        let unwritten = start.unwritten_logs();
        let needs_checkpoint = start.origin().is_some() || may_rewind(config);
        let (trainer, start_events) = start.into_trainer(config, device)?;
        let mut trainer = trainer.with_division(division.clone());
        if is_resumed {
            for rows in rows_skipped_at(directory, trainer.progress().step)? {
                trainer.skip_rows(rows);
            }
        }
        trainer.inject_faults(options.faults.numbers());
        let events = [&context.earlier_events, &ready.changes, &data_changes, &start_events];
        let events = events.into_iter().flatten().cloned().collect();
        Ok(Self { trainer, is_resumed, unwritten, events, needs_checkpoint, parameters: identity.parameters })
    }

    /// Opens the logs at the step of the starting state, and logs the first events.
    pub(super) fn open_logs(
        &self,
        ready: &PreparedRun<'_>,
        progress: &mut dyn FnMut(RunProgress<'_>),
    ) -> Result<Logs, RunError> {
        let (step, directory) = (self.trainer.progress().step, ready.directory);
        if self.is_resumed {
            Logs::restore(directory, &self.unwritten)?;
        }
        let open = if self.is_resumed { Logs::resume } else { Logs::begin };
        let mut logs = open(directory, step, &ready.resolved.config.log)?;
        for event in &self.events {
            progress(RunProgress::Event(&logs.event(step, event.clone())?));
        }
        progress(RunProgress::Training {
            step,
            total_steps: self.trainer.total_steps(),
            parameters: self.parameters,
            directory: directory.root(),
        });
        Ok(logs)
    }
}

/// Whether a rewind is possible. If so, the run writes a checkpoint before its first step.
fn may_rewind(config: &RunConfig) -> bool {
    config.guard.may_rewind() || config.triggers.iter().any(TriggerConfig::may_rewind)
}

/// Returns the identity of the run at this start.
fn identify(
    config: &RunConfig,
    prepared: &Prepared,
    start: &InitialState,
    stored: Option<&RunIdentity>,
    ranks: &dyn Ranks,
) -> RunIdentity {
    let now = jiff::Timestamp::now();
    let own = stored.filter(|_| start.is_resumed());
    RunIdentity {
        schema: RUN_SCHEMA,
        name: config.run.name.clone(),
        config_hash: config.hash(),
        data_fingerprint: prepared.dataset.fingerprint().to_owned(),
        tokenizer_fingerprint: prepared.tokenizer.fingerprint().to_owned(),
        parameters: config.model.parameter_count(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        host: sysinfo::System::host_name(),
        device: config.run.device.to_string(),
        ranks: ranks.size(),
        threads: rayon::current_num_threads(),
        created: stored.map_or(now, |stored| stored.created),
        started: now,
        origin: start.origin().or(own.and_then(|own| own.origin.as_ref())).cloned(),
        init: start.init().or(own.and_then(|own| own.init.as_ref())).cloned(),
    }
}
