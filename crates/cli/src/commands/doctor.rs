//! `fineline doctor`: devices and features of this machine.

use std::fmt::Write;

use anyhow::Result;
use fineline_ranks::Ranks;
use fineline_run::tools::doctor::{self, DeviceDiagnosis, DiskDiagnosis, RankDiagnosis};

use crate::args::DoctorArgs;
use crate::output::{grouped, print, print_json};
use crate::ranks::run_on_ranks;

/// `fineline doctor`
pub(crate) fn doctor(args: &DoctorArgs) -> Result<()> {
    run_on_ranks(|ranks| doctor_with(args, ranks))
}

fn doctor_with(args: &DoctorArgs, ranks: &dyn Ranks) -> Result<()> {
    if !ranks.is_first() {
        let _ = doctor::diagnose_ranks(ranks);
        return Ok(());
    }
    let found = doctor::diagnose(ranks);
    if args.json {
        return print_json(&found);
    }
    let mut text = String::new();
    let unknown = || "unknown".to_owned();
    writeln!(text, "fineline {}", found.version)?;
    writeln!(
        text,
        "host      {} ({})",
        found.host.unwrap_or_else(unknown),
        found.os.unwrap_or_else(unknown)
    )?;
    writeln!(text, "cores     {} ({})", found.cores, found.cpu_features.join(", "))?;
    let (free, all) = (grouped(found.memory_available_mib), grouped(found.memory_mib));
    writeln!(text, "memory    {free} MiB free of {all}")?;
    writeln!(text, "disk      {}", format_disk(&found.disk))?;
    for device in found.devices {
        writeln!(text, "device    {}", format_device(&device))?;
    }
    writeln!(text, "mpi       {}", found.mpi.as_deref().unwrap_or("not in this build (--features mpi)"))?;
    for rank in &found.ranks {
        writeln!(text, "rank      {}", format_rank(rank))?;
    }
    writeln!(text, "sandbox   {}", found.sandbox_problem.as_deref().unwrap_or("works"))?;
    print(&text)
}

fn format_device(found: &DeviceDiagnosis) -> String {
    let name = found.description.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
    let precisions: Vec<_> = found.precisions.iter().map(|precision| precision.name()).collect();
    let state = found.problem.clone().unwrap_or_else(|| format!("works ({})", precisions.join(", ")));
    format!("{}{name}: {state}", found.name)
}

fn format_rank(found: &RankDiagnosis) -> String {
    let RankDiagnosis { rank, host, cores, device, memory_available_mib, shares_directory, clock_offset_s } =
        found;
    let host = host.as_deref().unwrap_or("an unnamed host");
    let mut text = format!(
        "{rank} on {host}: {cores} cores, {device}, {} MiB of memory free",
        grouped(*memory_available_mib)
    );
    if !shares_directory {
        text.push_str("; it doesn't see rank 0's working directory, so a run directory can't be here");
    }
    let clock = if clock_offset_s.abs() > CLOCK_TOLERANCE_S {
        format!("; its clock is {clock_offset_s:+.1} s off rank 0's")
    } else {
        String::new()
    };
    text + &clock
}

/// Difference of clocks, in seconds, above which file times are misleading.
const CLOCK_TOLERANCE_S: f64 = 1.0;

fn format_disk(found: &DiskDiagnosis) -> String {
    let unknown = || "unknown".to_owned();
    let shared = match found.shared {
        Some(true) => "shared with other machines",
        Some(false) => "this machine's own",
        None => "unknown whether shared",
    };
    let clock = match found.clock_offset_s {
        Some(offset) if offset.abs() > CLOCK_TOLERANCE_S => {
            format!("; its clock is {offset:+.1} s off this machine's")
        }
        Some(_) => String::new(),
        None => "; not writable".to_owned(),
    };
    let (free, kind) =
        (found.free_mib.map_or_else(unknown, grouped), found.kind.clone().unwrap_or_else(unknown));
    format!("{free} MiB free here ({kind}, {shared}){clock}")
}
