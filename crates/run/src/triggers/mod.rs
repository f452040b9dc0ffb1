//! Triggers: conditions on the intervals of probe results, and actions when one holds.
//!
//! `events.jsonl` records which triggers held, and when. Their state (cool-down, a raised cadence,
//! checkpoints to keep) is read from it at a start, so that a resumed run continues as the unbroken one.

mod branch;
mod condition;
mod notify;

use fineline_dynamics::Phase;
use fineline_probe::ProbeRecord;
use fineline_train::{SavedCheckpoint, StepView, TrainerControl};

pub(crate) use notify::Notifier;
pub use notify::Notify;

use branch::{BranchPoint, write_branch};
use notify::{FiredTrigger, start_command};

use crate::config::{RunConfig, TriggerAction, TriggerConfig};
use crate::error::RunError;
use crate::records::events::{Event, EventRecord};
use crate::records::trigger_evidence::TriggerEvidence;
use fineline_layout::RunDirectory;

/// The triggers of a run.
pub(crate) struct Triggers<'a> {
    config: &'a RunConfig,
    directory: &'a RunDirectory,
    notifier: Notifier<'a>,
    /// The step at which each held last.
    held: Vec<Option<u64>>,
    /// Commands that wait for their checkpoint.
    waiting: Vec<FiredTrigger>,
    /// Name of the trigger that requested a rewind.
    rewinding: Option<String>,
}

/// Result of checking triggers.
pub(crate) struct TriggerOutcome {
    /// Events to log.
    pub(crate) events: Vec<Event>,
    /// Request to the trainer.
    pub(crate) control: TrainerControl,
}

impl<'a> Triggers<'a> {
    /// The triggers of a run whose log has these events.
    pub(crate) fn new(
        config: &'a RunConfig,
        directory: &'a RunDirectory,
        notifier: Notifier<'a>,
        events: &[EventRecord],
    ) -> Self {
        let held = |trigger: &TriggerConfig| past(events, trigger).last();
        let held = config.triggers.iter().map(held).collect();
        Self { config, directory, notifier, held, waiting: Vec::new(), rewinding: None }
    }

    /// Whether all probes are due after `step`, because a trigger raised their cadence.
    pub(crate) fn probes_are_due(&self, step: u64) -> bool {
        let raised = |(trigger, held): (&TriggerConfig, &Option<u64>)| {
            let since = held.filter(|_| trigger.actions.contains(&TriggerAction::Probe) && !trigger.dry_run);
            since.is_some_and(|since| {
                step > since
                    && step <= since + trigger.probe_steps
                    && (step - since).is_multiple_of(trigger.probe_every)
            })
        };
        self.config.triggers.iter().zip(&self.held).any(raised)
    }

    /// Checks the triggers on a line of the probe log. `before` is the task's phase in the previous round.
    ///
    /// # Errors
    /// A branch that can't be prepared.
    pub(crate) fn check(
        &mut self,
        record: &ProbeRecord,
        before: Option<Phase>,
        view: &StepView<'_>,
    ) -> Result<TriggerOutcome, RunError> {
        let mut fired = TriggerOutcome { events: Vec::new(), control: TrainerControl::Continue };
        let config = self.config;
        for (index, trigger) in config.triggers.iter().enumerate() {
            let in_cooldown = self.held[index].is_some_and(|held| view.step <= held + trigger.cooldown_steps);
            if trigger.task != record.task || in_cooldown {
                continue;
            }
            if let Some(evidence) = condition::evidence(trigger, record, before) {
                self.held[index] = Some(view.step);
                self.run_actions(trigger, record, evidence, view, &mut fired)?;
            }
        }
        Ok(fired)
    }

    fn run_actions(
        &mut self,
        trigger: &TriggerConfig,
        record: &ProbeRecord,
        evidence: TriggerEvidence,
        view: &StepView<'_>,
        fired: &mut TriggerOutcome,
    ) -> Result<(), RunError> {
        let mut event = Event::Triggered {
            trigger: trigger.name.clone(),
            task: record.task.clone(),
            evidence,
            actions: trigger.actions.clone(),
            dry_run: trigger.dry_run,
            branch: None,
        };
        if trigger.dry_run {
            fired.events.push(event);
            return Ok(());
        }
        let mut branch_dir = None;
        for action in &trigger.actions {
            let control = match action {
                TriggerAction::Keep => TrainerControl::Keep,
                TriggerAction::Probe => TrainerControl::Continue,
                TriggerAction::Branch => {
                    let decay_steps = trigger.branch_steps;
                    // Before the first update of a warm-up, the learning rate is 0.
                    let lr = if view.lr > 0.0 { view.lr } else { self.config.optim.lr };
                    let point = BranchPoint { trigger: &trigger.name, step: view.step, lr, decay_steps };
                    branch_dir = Some(write_branch(self.config, self.directory, &point)?);
                    TrainerControl::Keep
                }
                TriggerAction::Rewind => {
                    self.rewinding = Some(trigger.name.clone());
                    let before = view.step.saturating_sub(1);
                    TrainerControl::Rewind(record.delta.as_ref().map_or(before, |delta| delta.step))
                }
                TriggerAction::Stop => TrainerControl::Stop,
            };
            fired.control = fired.control.max(control);
        }
        if let Event::Triggered { branch, .. } = &mut event {
            branch.clone_from(&branch_dir);
        }
        let occasion = FiredTrigger {
            step: view.step,
            trigger: trigger.clone(),
            event: event.clone(),
            branch: branch_dir,
        };
        fired.events.push(event);
        self.notifier.post(&occasion);
        if trigger.keeps() {
            self.waiting.push(occasion);
        } else {
            fired.events.extend(start_command(&occasion, self.directory, None));
        }
        Ok(())
    }

    /// Starts the commands that waited for a checkpoint. Returns an event for each that can't be started.
    pub(crate) fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Vec<Event> {
        let (ready, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|occasion: &FiredTrigger| occasion.step <= saved.step);
        self.waiting = waiting;
        let start = |occasion: FiredTrigger| start_command(&occasion, self.directory, Some(&saved.path));
        ready.into_iter().filter_map(start).collect()
    }

    /// Returns the name of the trigger that requested a rewind.
    pub(crate) fn rewinding(&self) -> Option<String> {
        self.rewinding.clone()
    }
}

/// Returns the steps at which a trigger held, dry runs included.
fn past<'e>(events: &'e [EventRecord], trigger: &'e TriggerConfig) -> impl Iterator<Item = u64> + 'e {
    events.iter().filter_map(|record| match &record.event {
        Event::Triggered { trigger: name, .. } if *name == trigger.name => Some(record.step),
        // The event of a trigger that caused a rewind is undone with its step.
        Event::Rewound { trigger: Some(name), .. } if *name == trigger.name => Some(record.step),
        _ => None,
    })
}
