use anyhow::Result;
use fineline_run::verify;

use super::{grouped, load, print};
use crate::UsageError;
use crate::args::ConfigArgs;
use crate::console::Console;

/// `fineline verify resume`
pub(crate) fn resume(args: &ConfigArgs, steps: u64, stop_at: Option<u64>) -> Result<()> {
    let stop_at = stop_at.unwrap_or(steps / 2);
    let resolved = load(args)?;
    let config = &resolved.config;
    let total = config.train.total_steps(config.data.seq_len)?;
    if !(0 < stop_at && stop_at < steps && steps <= total) {
        let message =
            format!("expected 0 < --stop-at ({stop_at}) < --steps ({steps}) <= the run's steps ({total})");
        return Err(UsageError(message).into());
    }
    let mut console = Console::without_tables();
    let proof = verify::resume(&resolved, steps, stop_at, &mut |progress| console.show(progress));
    console.finish();
    let proof = proof?;
    print(&format!(
        "The first {} steps, stopped after step {} and resumed, equal the unbroken ones:\n\
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
