use std::fmt::Write;

use anyhow::Result;
use fineline_run::plan::{Machines, plan as make_plan};

use super::{grouped, load, print, print_json};
use crate::args::PlanArgs;

/// `fineline plan`
pub(crate) fn plan(args: &PlanArgs) -> Result<()> {
    let resolved = load(&args.config)?;
    let machines = Machines { devices: args.devices, memory_gib: args.memory, tflops: args.peak_tflops };
    let plan = make_plan(&resolved.config, &machines)?;
    if args.json {
        return print_json(&plan);
    }
    let mut page = String::new();
    writeln!(page, "parameters    {}", grouped(plan.parameters))?;
    writeln!(
        page,
        "steps         {}, of {} tokens each",
        grouped(plan.steps),
        grouped(plan.tokens_per_step)
    )?;
    writeln!(
        page,
        "tokens        {} ({:.1} per parameter)",
        grouped(plan.tokens),
        plan.tokens_per_parameter
    )?;
    writeln!(page, "operations    {:.3e} FLOP", plan.flops)?;
    writeln!(page, "\nmemory of a device, MiB")?;
    let memory = plan.memory;
    let parts = [
        ("parameters", memory.parameters),
        ("gradients", memory.gradients),
        ("optimizer", memory.optimizer),
        ("activations", memory.activations),
        ("logits", memory.logits),
        ("snapshot", memory.snapshot),
        ("program", memory.program),
        ("total", memory.total),
        ("on fast disk", memory.total_on_fast_disk),
    ];
    for (name, bytes) in parts {
        writeln!(page, "  {name:<12} {:>12.1}", mib(bytes))?;
    }
    if let Some(fits) = plan.fits {
        writeln!(
            page,
            "  {}",
            if fits {
                "fits, however slow the disk"
            } else {
                "does not fit: lower train.micro_batch or data.seq_len"
            }
        )?;
    }
    writeln!(page)?;
    match plan.days {
        Some(days) => {
            writeln!(page, "time          {days:.2} days at that speed, without probes")?;
        }
        None => {
            writeln!(page, "time          unknown: state --peak-tflops, or measure with `fineline bench`")?;
        }
    }
    writeln!(page, "checkpoint    {:.1} MiB", mib(plan.checkpoint_bytes))?;
    writeln!(page, "checkpoints   {:.1} MiB at the end", mib(plan.checkpoints_bytes))?;
    print(&page)
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
