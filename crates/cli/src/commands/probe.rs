use anyhow::Result;

use crate::args::{ProbeArgs, TableFormat};
use crate::console::Console;
use crate::lm_eval_table::lm_eval_tables;
use crate::output::{print, print_json};
use crate::probe_request::{asked_of, by_flag};
use crate::probe_table::probe_round;

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
