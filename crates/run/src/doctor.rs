//! What works on this machine.

use std::path::Path;

use fineline_probe::sandbox_problem;
use serde::Serialize;
use sysinfo::{Disks, System};

use crate::device;

/// The machine as a run would find it.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Version of the program.
    pub version: &'static str,
    /// Devices that `run.device` may name in this build.
    pub devices: Vec<DeviceDiagnosis>,
    /// Why tasks of code can't run programs here; null where they can.
    pub sandbox_problem: Option<String>,
    /// Cores that this process may use.
    pub cores: usize,
    /// Vector instructions of the processor that speed up training.
    pub cpu_features: Vec<&'static str>,
    /// Memory of the machine, in MiB.
    pub memory_mib: u64,
    /// Memory that is free, or can be made so, in MiB.
    pub memory_available_mib: u64,
    /// Free space where the working directory lies, in MiB; null where that can't be told.
    pub disk_free_mib: Option<u64>,
    /// Name of the machine.
    pub host: Option<String>,
    /// Name and version of the operating system.
    pub os: Option<String>,
}

/// One device, and whether a tensor operation on it gave the right result.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceDiagnosis {
    /// The name for `run.device`.
    pub name: &'static str,
    /// What is wrong with it; null where it works.
    pub problem: Option<String>,
}

/// Looks at the machine.
#[must_use]
pub fn diagnose() -> Diagnosis {
    let mut system = System::new();
    system.refresh_memory();
    Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        devices: device::BUILT_IN
            .map(|name| DeviceDiagnosis {
                name,
                problem: device::check(name).err().map(|error| error.to_string()),
            })
            .to_vec(),
        sandbox_problem: sandbox_problem(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_features: cpu_features(),
        memory_mib: system.total_memory() >> 20,
        memory_available_mib: system.available_memory() >> 20,
        disk_free_mib: std::env::current_dir().ok().and_then(|folder| free_disk_mib(&folder)),
        host: System::host_name(),
        os: System::long_os_version(),
    }
}

/// Free space, in MiB, of the disk that holds `path`.
fn free_disk_mib(path: &Path) -> Option<u64> {
    let path = fs_err::canonicalize(path).ok()?;
    Disks::new_with_refreshed_list()
        .list()
        .iter()
        .filter(|disk| path.starts_with(disk.mount_point()))
        .max_by_key(|disk| disk.mount_point().components().count())
        .map(|disk| disk.available_space() >> 20)
}

#[cfg(target_arch = "x86_64")]
fn cpu_features() -> Vec<&'static str> {
    [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
    ]
    .into_iter()
    .filter_map(|(name, present)| present.then_some(name))
    .collect()
}

#[cfg(target_arch = "aarch64")]
fn cpu_features() -> Vec<&'static str> {
    if std::arch::is_aarch64_feature_detected!("neon") { vec!["neon"] } else { Vec::new() }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn cpu_features() -> Vec<&'static str> {
    Vec::new()
}
