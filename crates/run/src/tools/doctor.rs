//! What works on this machine.

use std::path::Path;

use fineline_kernels::Precision;
use fineline_probe::sandbox_problem;
use fineline_ranks::{Ranks, mpi_library};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sysinfo::{Disks, System};

use crate::config::{BUILT_IN, DeviceName};
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
    /// The file system that holds the working directory.
    pub disk: DiskDiagnosis,
    /// The MPI library that joins several processes; null in a build without one.
    pub mpi: Option<String>,
    /// The processes that were started together, where there are several.
    pub ranks: Vec<RankDiagnosis>,
    /// Name of the machine.
    pub host: Option<String>,
    /// Name and version of the operating system.
    pub os: Option<String>,
}

/// One of the processes that were started together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankDiagnosis {
    /// Its number.
    pub rank: usize,
    /// The machine that it is on.
    pub host: Option<String>,
    /// Cores that it may use.
    pub cores: usize,
    /// The device that `run.device = "cuda"` gives it, in a build that has CUDA; `"cpu"` otherwise.
    pub device: String,
    /// Memory of its machine that is free, in MiB.
    pub memory_available_mib: u64,
    /// Whether it sees what rank 0 has written into the working directory, as all must see a run's folder.
    pub shares_folder: bool,
    /// Seconds by which its clock is ahead of rank 0's, as far as one meeting tells.
    pub clock_offset_s: f64,
}

/// What all ranks find together, the same on each. Nothing where there is only one.
#[must_use]
pub fn diagnose_ranks(ranks: &dyn Ranks) -> Vec<RankDiagnosis> {
    if ranks.size() == 1 {
        return Vec::new();
    }
    let token = if ranks.is_first() { tempfile::NamedTempFile::new_in(".").ok() } else { None };
    let name = token
        .as_ref()
        .and_then(|token| token.path().file_name())
        .map(|name| name.to_string_lossy().into_owned());
    let name = ranks.broadcast(ranks.is_first().then_some(name));
    ranks.barrier();
    let now = Timestamp::now();
    let first = ranks.broadcast(Some(now.as_microsecond()));
    let mut system = System::new();
    system.refresh_memory();
    let own = RankDiagnosis {
        rank: ranks.rank(),
        host: System::host_name(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        device: device::of_this_rank().to_string(),
        memory_available_mib: system.available_memory() >> 20,
        shares_folder: name.is_some_and(|name| Path::new(&name).exists()),
        clock_offset_s: (now.as_microsecond() - first) as f64 / 1e6,
    };
    ranks.all_gather(&own)
}

/// One device, and whether a tensor operation on it gave the right result.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceDiagnosis {
    /// The name for `run.device`.
    pub name: String,
    /// What it calls itself; null where it doesn't say.
    pub description: Option<String>,
    /// What `run.precision` may be with it.
    pub precisions: Vec<Precision>,
    /// What is wrong with it; null where it works.
    pub problem: Option<String>,
}

/// A file system, as runs on several machines would share it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DiskDiagnosis {
    /// What the system calls it (`ext4`, `nfs4`, `lustre`).
    pub kind: Option<String>,
    /// Whether it is of a kind that other machines see too, as a run on several of them needs.
    pub shared: Option<bool>,
    /// Free space, in MiB.
    pub free_mib: Option<u64>,
    /// Seconds that files written here are dated ahead of this machine's clock: what its clock and the file server's differ by.
    pub clock_offset_s: Option<f64>,
}

/// Looks at the machine.
#[must_use]
pub fn diagnose(ranks: &dyn Ranks) -> Diagnosis {
    let mut system = System::new();
    system.refresh_memory();
    Diagnosis {
        version: env!("CARGO_PKG_VERSION"),
        devices: device_names().into_iter().map(DeviceDiagnosis::of).collect(),
        sandbox_problem: sandbox_problem(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        cpu_features: cpu_features(),
        memory_mib: system.total_memory() >> 20,
        memory_available_mib: system.available_memory() >> 20,
        disk: std::env::current_dir()
            .ok()
            .map_or_else(DiskDiagnosis::default, |folder| DiskDiagnosis::of(&folder)),
        mpi: mpi_library(),
        ranks: diagnose_ranks(ranks),
        host: System::host_name(),
        os: System::long_os_version(),
    }
}

/// Every device of this machine that the build can use; and where there is none of a kind that it has, the kind.
fn device_names() -> Vec<DeviceName> {
    let found = device::names();
    let kinds = BUILT_IN.iter().filter_map(|kind| kind.parse::<DeviceName>().ok());
    kinds
        .flat_map(|kind| {
            let of_kind: Vec<_> = found.iter().copied().filter(|name| name.kind() == kind.kind()).collect();
            if of_kind.is_empty() { vec![kind] } else { of_kind }
        })
        .collect()
}

impl DeviceDiagnosis {
    fn of(name: DeviceName) -> Self {
        let device = name.open().ok();
        Self {
            name: name.to_string(),
            description: device.as_ref().and_then(device::description),
            precisions: device.as_ref().map(device::precisions).unwrap_or_default(),
            problem: name.check().err().map(|error| error.to_string()),
        }
    }
}

impl DiskDiagnosis {
    fn of(folder: &Path) -> Self {
        let Ok(folder) = fs_err::canonicalize(folder) else { return Self::default() };
        let disks = Disks::new_with_refreshed_list();
        let holding = disks.list().iter().filter(|disk| folder.starts_with(disk.mount_point()));
        let disk = holding.max_by_key(|disk| disk.mount_point().components().count());
        let kind = disk.map(|disk| disk.file_system().to_string_lossy().into_owned());
        Self {
            free_mib: disk.map(|disk| disk.available_space() >> 20),
            shared: kind.as_deref().map(is_shared),
            kind,
            clock_offset_s: clock_offset(&folder),
        }
    }
}

/// Whether other machines usually see the same files, by the name of the file system.
fn is_shared(kind: &str) -> bool {
    const SHARED: [&str; 12] = [
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "fuse.gcsfuse",
        "fuse.s3fs",
        "gpfs",
        "lustre",
        "nfs",
        "smb",
        "wekafs",
    ];
    SHARED.iter().any(|shared| kind.to_lowercase().starts_with(shared))
}

/// Seconds that a file written now in this folder is dated ahead of this machine's clock; unknown where none can be written.
fn clock_offset(folder: &Path) -> Option<f64> {
    let before = Timestamp::now();
    let file = tempfile::NamedTempFile::new_in(folder).ok()?;
    let written = Timestamp::try_from(file.as_file().metadata().ok()?.modified().ok()?).ok()?;
    let after = Timestamp::now();
    // It was written between the two; only what lies outside of them is known to be off.
    Some(written.duration_since(written.clamp(before, after)).as_secs_f64())
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
