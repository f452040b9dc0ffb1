use anyhow::Result;
use fineline_run::offline::OfflineProbe;

use super::{print, print_json};
use crate::args::ProbeArgs;
use crate::console::Console;
use crate::table::probe_round;

/// `fineline probe`
pub(crate) fn probe(args: &ProbeArgs) -> Result<()> {
    let request = OfflineProbe {
        checkpoint: args.checkpoint.clone(),
        suite: args.suite.clone(),
        tasks: args.tasks.clone(),
        limit: args.limit.map(|limit| limit as usize),
        device: args.device.clone(),
    };
    let mut console = Console::new();
    let results = request.run(&mut |progress| console.show(progress));
    console.finish();
    let results = results?;
    if let Some(folder) = &args.out {
        results.write(folder)?;
    }
    if args.json {
        return print_json(&results.results);
    }
    print(&format!("{}\n", probe_round(&results.records)))
}
