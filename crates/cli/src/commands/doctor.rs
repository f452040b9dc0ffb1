use std::fmt::Write;

use anyhow::Result;
use fineline_run::doctor;

use super::{grouped, print, print_json};
use crate::args::DoctorArgs;

/// `fineline doctor`
pub(crate) fn doctor(args: &DoctorArgs) -> Result<()> {
    let found = doctor::diagnose();
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
    writeln!(text, "disk      {} MiB free here", found.disk_free_mib.map_or_else(unknown, grouped))?;
    for device in found.devices {
        writeln!(text, "device    {}: {}", device.name, device.problem.as_deref().unwrap_or("works"))?;
    }
    writeln!(text, "sandbox   {}", found.sandbox_problem.as_deref().unwrap_or("works"))?;
    print(&text)
}
