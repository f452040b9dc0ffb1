use anyhow::{Result, ensure};
use fineline_run::verify;

use super::{grouped, load, print};
use crate::args::ConfigArgs;
use crate::console::Console;

/// `fineline verify resume`
pub(crate) fn resume(args: &ConfigArgs, steps: u64, stop_at: Option<u64>) -> Result<()> {
    let stop_at = stop_at.unwrap_or(steps / 2);
    ensure!(0 < stop_at && stop_at < steps, "--stop-at must lie between 0 and --steps ({steps})");
    let resolved = load(args)?;
    let mut console = Console::without_tables();
    let proof = verify::resume(&resolved, steps, stop_at, &mut |progress| console.show(progress));
    console.finish();
    let proof = proof?;
    print(&format!(
        "A run of {} steps, stopped after step {} and resumed, equals the unbroken one:\n\
         \x20 {} checkpoint files ({} bytes), byte for byte\n\
         \x20 {} lines of metrics.jsonl and {} of probes.jsonl, but for their timings\n\
         \x20 {} item files, byte for byte\n",
        proof.steps,
        proof.stopped_after,
        proof.checkpoint_files,
        grouped(proof.checkpoint_bytes),
        proof.metrics_lines,
        proof.probe_lines,
        proof.item_files,
    ))
}
