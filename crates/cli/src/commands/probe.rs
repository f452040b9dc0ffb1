use anyhow::Result;
use fineline_run::RunError;
use fineline_run::offline::OfflineProbe;
use fineline_run::probe::ProbeError;

use super::{print, print_json};
use crate::UsageError;
use crate::args::{ProbeArgs, TableFormat};
use crate::console::Console;
use crate::lm_eval_table::lm_eval_tables;
use crate::table::probe_round;

/// `fineline probe`
pub(crate) fn probe(args: &ProbeArgs) -> Result<()> {
    let request = OfflineProbe {
        checkpoint: args.checkpoint.clone(),
        suite: args.suite.clone(),
        tasks: args.tasks.clone(),
        limit: args.limit.map(|limit| limit as usize),
        device: args.device.clone(),
        data: args.data.clone(),
        allow_code_execution: args.allow_code_execution,
    };
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

/// The flag at fault, where it is one.
pub(super) fn by_flag(error: RunError) -> anyhow::Error {
    let flag = match &error {
        RunError::Probe(ProbeError::UnknownSuite { .. }) => "--suite",
        RunError::Probe(ProbeError::UnknownTask { .. }) => "--tasks",
        _ => return error.into(),
    };
    UsageError(format!("{flag}: {error}")).into()
}
