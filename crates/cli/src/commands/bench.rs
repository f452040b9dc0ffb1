//! `fineline bench`: the speed of training steps and probes.

use std::fmt::Write;

use anyhow::Result;
use fineline_ranks::Ranks;
use fineline_run::tools::bench::{BenchScope, bench as run_bench};

use crate::args::BenchArgs;
use crate::configuration::load;
use crate::console::Console;
use crate::output::{grouped, print, print_json};
use crate::ranks::run_on_ranks;

/// `fineline bench`
pub(crate) fn bench(args: &BenchArgs) -> Result<()> {
    run_on_ranks(|ranks| bench_with(args, ranks))
}

fn bench_with(args: &BenchArgs, ranks: &dyn Ranks) -> Result<()> {
    let resolved = load(&args.config)?;
    let scope = if args.probes { BenchScope::StepsAndProbes } else { BenchScope::Steps };
    if !ranks.is_first() {
        return Ok(run_bench(&resolved, args.steps, BenchScope::Steps, ranks, &mut |_| ()).map(drop)?);
    }
    let mut console = Console::new();
    let measured = run_bench(&resolved, args.steps, scope, ranks, &mut |progress| console.show(progress));
    console.finish();
    let measured = measured?;
    if args.json {
        return print_json(&measured);
    }
    let mut text = String::new();
    let unknown = || "unknown".to_owned();
    writeln!(text, "parameters   {}", grouped(measured.parameters))?;
    let ranks = if measured.ranks > 1 { format!("{} ranks of ", measured.ranks) } else { String::new() };
    writeln!(text, "device       {}, {ranks}{} threads", measured.device, measured.threads)?;
    writeln!(text, "tokens/s     {:.0}", measured.tokens_per_s)?;
    writeln!(
        text,
        "step         {:.4} s (median of {}; {:.4} to {:.4})",
        measured.step_s, measured.steps, measured.min_step_s, measured.max_step_s
    )?;
    writeln!(
        text,
        "peak memory  {}",
        measured.peak_rss_mib.map_or_else(unknown, |mib| format!("{mib:.0} MiB"))
    )?;
    writeln!(
        text,
        "mfu          {}",
        measured.mfu.map_or_else(
            || "unknown (log.peak_tflops is not set)".to_owned(),
            |mfu| format!("{:.1} %", 100.0 * mfu)
        )
    )?;
    if let Some(probes) = measured.probes {
        writeln!(text, "probes       {:.1} s, {:.0} choices/s", probes.seconds, probes.requests_per_s)?;
    }
    print(&text)
}
