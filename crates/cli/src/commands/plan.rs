//! `fineline plan`: estimates of memory, time and disk space.

use std::fmt::Write;

use anyhow::Result;
use comfy_table::{CellAlignment, Table, presets};
use fineline_run::DistributedMode;
use fineline_run::tools::plan::{DeviceMemory, Machines, PlannedSetup, plan as make_plan};

use crate::args::PlanArgs;
use crate::configuration::load;
use crate::output::{grouped, print, print_json};

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
    let unit = Unit::for_bytes(plan.memory.total);
    writeln!(page, "\nmemory per device in {}, for {}", unit.name(), devices(args.devices))?;
    writeln!(page, "{}", table(&plan.setups, unit))?;
    for way in plan.setups.iter().filter(|way| way.fits == Some(false)) {
        writeln!(page, "{}", format_misfit(way, args.memory.unwrap_or_default()))?;
    }
    writeln!(page)?;
    match plan.days {
        Some(days) => {
            writeln!(page, "time          {days:.2} days at that speed, without probes")?;
        }
        None => {
            writeln!(page, "time          unknown: give --peak-tflops, or measure with `fineline bench`")?;
        }
    }
    let size = |bytes| {
        let unit = Unit::for_bytes(bytes);
        format!("{} {}", unit.of(bytes), unit.name())
    };
    writeln!(page, "checkpoint    {}", size(plan.checkpoint_bytes))?;
    writeln!(page, "checkpoints   {} at the end", size(plan.checkpoints_bytes))?;
    print(&page)
}

fn devices(count: u64) -> String {
    if count == 1 { "one".to_owned() } else { format!("{} that share the batch", grouped(count)) }
}

type Part = fn(&DeviceMemory) -> u64;

/// A column for each way to train, a line for each part of the memory.
fn table(ways: &[PlannedSetup], unit: Unit) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let heads = ways.iter().map(|way| format!("{} {}", mode_name(way.mode), way.precision.name()));
    table.set_header(std::iter::once(String::new()).chain(heads));
    let parts: [(&str, Part); 10] = [
        ("parameters", |memory| memory.parameters),
        ("gradients", |memory| memory.gradients),
        ("optimizer", |memory| memory.optimizer),
        ("activations", |memory| memory.activations),
        ("logits", |memory| memory.logits),
        ("exchange", |memory| memory.exchange),
        ("snapshot", |memory| memory.snapshot),
        ("program", |memory| memory.program),
        ("total", |memory| memory.total),
        ("on a fast disk", |memory| memory.total_on_fast_disk),
    ];
    for (name, part) in parts {
        let sizes = ways.iter().map(|way| unit.of(part(&way.memory)));
        table.add_row(std::iter::once(name.to_owned()).chain(sizes));
    }
    if ways.iter().any(|way| way.fits.is_some()) {
        let word = |fits: Option<bool>| if fits == Some(true) { "yes" } else { "no" };
        table.add_row(
            std::iter::once("fits".to_owned()).chain(ways.iter().map(|way| word(way.fits).to_owned())),
        );
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Returns why a way doesn't fit into memory, and a remedy.
fn format_misfit(way: &PlannedSetup, room: f64) -> String {
    let DeviceMemory { parameters, gradients, optimizer, snapshot, program, activations, logits, .. } =
        way.memory;
    let state = parameters + gradients + optimizer + snapshot + program;
    let name = format!("{} {}", mode_name(way.mode), way.precision.name());
    match way.largest_micro_batch {
        Some(largest @ 1..) => format!(
            "{name} does not fit into {room} GiB: activations and logits of a micro-batch take {:.1} GiB; \
             train.micro_batch_size = {largest} fits",
            gib(activations + logits)
        ),
        _ if gib(state) >= room => format!(
            "{name} does not fit into {room} GiB: weights, gradients, optimizer state and the snapshot of a \
             checkpoint alone take {:.1} GiB",
            gib(state)
        ),
        _ => format!(
            "{name} does not fit into {room} GiB: {:.1} GiB remain beside the state, too little for one \
             sequence: reduce data.seq_len",
            room - gib(state)
        ),
    }
}

fn mode_name(mode: DistributedMode) -> &'static str {
    match mode {
        DistributedMode::DataParallel => "data-parallel",
        DistributedMode::Zero1 => "ZeRO-1",
    }
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

/// Unit of the sizes in one table.
#[derive(Clone, Copy)]
enum Unit {
    Mib,
    Gib,
    Tib,
}

impl Unit {
    /// Returns the largest unit of which there are ten or more.
    fn for_bytes(bytes: u64) -> Self {
        match bytes {
            bytes if bytes >= 10 << 40 => Self::Tib,
            bytes if bytes >= 10 << 30 => Self::Gib,
            _ => Self::Mib,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mib => "MiB",
            Self::Gib => "GiB",
            Self::Tib => "TiB",
        }
    }

    fn of(self, bytes: u64) -> String {
        let shift = match self {
            Self::Mib => 20,
            Self::Gib => 30,
            Self::Tib => 40,
        };
        format!("{:.1}", bytes as f64 / (1_u64 << shift) as f64)
    }
}
