//! `fineline verify`: interrupted runs against uninterrupted ones, and the first difference of two runs.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use fineline_run::RunDirectory;
use fineline_run::tools::diff::{self, RunDiff};
use fineline_run::tools::verify;

use crate::args::ConfigArgs;
use crate::configuration::load;
use crate::console::Console;
use crate::failure::UsageError;
use crate::outcome::CommandOutcome;
use crate::output::{grouped, print, print_json};

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
        "The first {} steps, stopped after step {} and resumed, equal those of the uninterrupted run:\n\
         \x20 {} checkpoint files ({} bytes), byte for byte\n\
         \x20 {} lines of metrics.jsonl and {} of probes.jsonl, except timings\n\
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

/// `fineline verify diff`
pub(crate) fn diff(left: &Path, right: &Path, json: bool) -> Result<CommandOutcome> {
    let found = diff::diff(&RunDirectory::new(left), &RunDirectory::new(right))?;
    if json {
        print_json(&found)?;
    } else {
        print(&format_difference(&found)?)?;
    }
    Ok(if found.same { CommandOutcome::Done } else { CommandOutcome::Differs })
}

fn format_difference(found: &RunDiff) -> Result<String> {
    let mut page = String::new();
    match &found.parameters {
        Some(difference) => {
            let first = difference.tensors.first().map_or("", String::as_str);
            let (count, of) = (difference.tensors.len(), difference.of);
            let before = difference.last_equal.map_or_else(
                || "no earlier step was compared".to_owned(),
                |step| format!("equal after step {step}"),
            );
            writeln!(
                page,
                "parameters    differ after step {}: {count} of {of} tensors, first {first} ({before})",
                difference.step
            )?;
        }
        None if found.digests_compared == 0 => {
            writeln!(page, "parameters    not compared: train both with `log.digest = true`")?;
        }
        None => writeln!(page, "parameters    equal after each of {} steps", found.digests_compared)?,
    }
    match &found.metrics {
        Some(difference) => {
            writeln!(page, "metrics       differ at step {}:", difference.step)?;
            for (field, [left, right]) in &difference.fields {
                writeln!(page, "  {field}: {left} and {right}")?;
            }
        }
        None => writeln!(page, "metrics       equal in {} steps", found.metrics_compared)?,
    }
    for difference in &found.config {
        let format_value = |value: &Option<serde_json::Value>| {
            value.as_ref().map_or_else(|| "unset".to_owned(), ToString::to_string)
        };
        writeln!(
            page,
            "config        {}: {} and {}",
            difference.key,
            format_value(&difference.left),
            format_value(&difference.right)
        )?;
    }
    writeln!(page, "{}", if found.same { "equal" } else { "different" })?;
    Ok(page)
}
