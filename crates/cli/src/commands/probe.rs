use std::path::Path;

use anyhow::Result;
use fineline_run::RunError;
use fineline_run::offline::OfflineProbe;
use fineline_run::probe::ProbeError;

use super::{print, print_json};
use crate::UsageError;
use crate::args::{AskedArgs, ProbeArgs, TableFormat};
use crate::console::Console;
use crate::lm_eval_table::lm_eval_tables;
use crate::table::probe_round;

/// `fineline probe`
pub(crate) fn probe(args: &ProbeArgs) -> Result<()> {
    let request = asked_of(&args.checkpoint, &args.asked);
    let mut console = Console::new();
    let results = request.run(&mut |progress| console.show(progress));
    console.finish();
    let results = results.map_err(by_flag)?;
    if let Some(folder) = &args.out {
        results.write(folder)?;
    }
    if args.json {
        return print_json(&results.results);
    }
    let mut tables = Vec::new();
    if args.format != TableFormat::LmEval {
        tables.push(format!("{}\n", probe_round(&results.records)));
    }
    if args.format != TableFormat::Fineline {
        tables.extend(lm_eval_tables(&results.results));
    }
    print(&tables.join("\n"))
}

/// What the flags ask of a checkpoint, or of each of those that `checkpoint` stands for.
pub(super) fn asked_of(checkpoint: &Path, asked: &AskedArgs) -> OfflineProbe {
    OfflineProbe {
        checkpoint: checkpoint.to_owned(),
        suite: asked.suite.clone(),
        tasks: asked.tasks.clone(),
        limit: asked.limit.map(|limit| limit as usize),
        device: asked.device,
        data: asked.data.clone(),
        allow_code_execution: asked.allow_code_execution,
    }
}

/// The flag at fault, where it is one.
pub(super) fn by_flag(error: RunError) -> anyhow::Error {
    let flag = match &error {
        RunError::Probe(ProbeError::UnknownSuite { .. }) => "--suite",
        RunError::Probe(ProbeError::UnknownTask { .. }) => "--tasks",
        _ => return error.into(),
    };
    UsageError(format!("{flag}: {error}")).into()
}
