//! Webhooks and commands of triggers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use fs_err as fs;
use serde_json::Value;

use crate::config::TriggerConfig;
use crate::error::RunError;
use crate::records::events::Event;
use fineline_layout::RunDirectory;

/// Client for webhooks. This crate doesn't use the network, so the caller provides one.
pub trait Notify: std::fmt::Debug + Send + Sync {
    /// Posts a JSON body to an address, without waiting for the answer.
    fn post(&self, url: &str, body: Value);
}

/// Calls webhooks, if the caller provides a client.
#[derive(Clone, Copy)]
pub(crate) struct Notifier<'a>(pub(crate) Option<&'a Arc<dyn Notify>>);

/// A trigger whose condition held.
#[derive(Clone, Debug)]
pub(super) struct FiredTrigger {
    pub(super) step: u64,
    pub(super) trigger: TriggerConfig,
    pub(super) event: Event,
    pub(super) branch: Option<PathBuf>,
}

impl FiredTrigger {
    fn body(&self) -> Value {
        serde_json::to_value(self.event.clone().at(self.step)).unwrap_or_default()
    }
}

impl Notifier<'_> {
    /// Posts the event to the webhook of the trigger, if it has one.
    pub(super) fn post(self, occasion: &FiredTrigger) {
        if let (Some(url), Some(notify)) = (&occasion.trigger.webhook, self.0) {
            notify.post(url, occasion.body());
        }
    }
}

/// Starts the command of the trigger, if it has one. Returns an event if it can't be started.
pub(super) fn start_command(
    occasion: &FiredTrigger,
    directory: &RunDirectory,
    checkpoint: Option<&Path>,
) -> Option<Event> {
    let failed = |error: RunError| Event::TriggerFailed {
        trigger: occasion.trigger.name.clone(),
        message: error.to_string(),
    };
    start(occasion, directory, checkpoint).err().map(failed)
}

fn start(
    occasion: &FiredTrigger,
    directory: &RunDirectory,
    checkpoint: Option<&Path>,
) -> Result<(), RunError> {
    let FiredTrigger { step, trigger, branch, .. } = occasion;
    let Some((program, arguments)) = trigger.command.split_first() else { return Ok(()) };
    let output = || fs::OpenOptions::new().create(true).append(true).open(directory.command_output());
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env("FINELINE_TRIGGER", &trigger.name)
        .env("FINELINE_TASK", &trigger.task)
        .env("FINELINE_STEP", step.to_string())
        .env("FINELINE_RUN", directory.root())
        .env("FINELINE_EVENT", occasion.body().to_string())
        .stdin(Stdio::null())
        .stdout(output()?.into_file())
        .stderr(output()?.into_file());
    if let Some(checkpoint) = checkpoint {
        command.env("FINELINE_CHECKPOINT", checkpoint);
    }
    if let Some(branch) = branch {
        command.env("FINELINE_BRANCH", branch);
    }
    let mut child = command
        .spawn()
        .map_err(|source| std::io::Error::new(source.kind(), format!("can't start {program}: {source}")))?;
    // The command may outlive the run. During the run, a thread waits for it, so that no zombie process is
    // left.
    std::thread::spawn(move || child.wait());
    Ok(())
}
