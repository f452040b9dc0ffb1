//! `fineline probe`: evaluation of a checkpoint.

use anyhow::Result;

use crate::args::{ProbeArgs, TableFormat};
use crate::console::Console;
use crate::lm_eval_table::lm_eval_tables;
use crate::output::{print, print_json};
use crate::probe_request::{offline_probe, with_flag};
use crate::probe_table::probe_round;

/// `fineline probe`
pub(crate) fn probe(args: &ProbeArgs) -> Result<()> {
    let request = offline_probe(&args.checkpoint, &args.evaluation);
    let mut console = Console::new();
    let results = request.run(&mut |progress| console.show(progress));
    console.finish();
    let results = results.map_err(with_flag)?;
    if let Some(dir) = &args.out {
        results.write(dir)?;
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
