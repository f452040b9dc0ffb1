//! Diagnosis of the machine.

use std::path::Path;

use fineline_kernels::Precision;
use fineline_probe::sandbox_problem;
use fineline_ranks::{Ranks, mpi_library};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sysinfo::{Disks, System};

use crate::config::{BUILT_IN, DeviceName};
use crate::device;

/// The machine, as a run would find it.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnosis {
    /// Version of fineline.
    pub version: &'static str,
    /// Devices that this build supports for `run.device`.
    pub devices: Vec<DeviceDiagnosis>,
    /// Why code tasks can't run programs here. Null if they can.
    pub sandbox_problem: Option<String>,
    /// Number of cores available to this process.
    pub cores: usize,
    /// Vector instructions of the CPU that speed up training.
    pub cpu_features: Vec<&'static str>,
    /// Memory of the machine, in MiB.
    pub memory_mib: u64,
    /// Available memory of the machine, in MiB.
    pub memory_available_mib: u64,
    /// File system of the working directory.
    pub disk: DiskDiagnosis,
    /// The MPI library. Null in a build without MPI.
    pub mpi: Option<String>,
    /// The processes that were started together, if there are several.
    pub ranks: Vec<RankDiagnosis>,
    /// Host name.
    pub host: Option<String>,
    /// Name and version of the operating system.
    pub os: Option<String>,
}

/// One of the processes that were started together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankDiagnosis {
    /// Rank of the process.
    pub rank: usize,
    /// Host name.
    pub host: Option<String>,
    /// Number of cores available to it.
    pub cores: usize,
    /// Device of the process for `run.device = "cuda"` in a build with CUDA, otherwise `"cpu"`.
    pub device: String,
    /// Available memory of its machine, in MiB.
    pub memory_available_mib: u64,
    /// Whether it sees a file that rank 0 wrote into the working directory. All ranks must see the directory
    /// of a run.
    pub shares_directory: bool,
    /// Seconds by which its clock is ahead of rank 0's, as measured over one collective.
    pub clock_offset_s: f64,
}

/// Diagnoses all ranks, with the same result on each. Empty for a single rank.
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
        shares_directory: name.is_some_and(|name| Path::new(&name).exists()),
        clock_offset_s: (now.as_microsecond() - first) as f64 / 1e6,
    };
    ranks.all_gather(&own)
}

/// A device, with the result of a test.
#[derive(Clone, Debug, Serialize)]
pub struct DeviceDiagnosis {
    /// The name for `run.device`.
    pub name: String,
    /// Its own name. Null if it has none.
    pub description: Option<String>,
    /// Values of `run.precision` that it supports.
    pub precisions: Vec<Precision>,
    /// Description of the problem. Null if it works.
    pub problem: Option<String>,
}

/// A file system.
#[derive(Clone, Debug, Default, Serialize)]
pub struct DiskDiagnosis {
    /// Name of its type (`ext4`, `nfs4`, `lustre`).
    pub kind: Option<String>,
    /// Whether other machines usually see the same files.
    pub shared: Option<bool>,
    /// Free space, in MiB.
    pub free_mib: Option<u64>,
    /// Seconds by which timestamps of new files are ahead of this machine's clock.
    pub clock_offset_s: Option<f64>,
}

/// Diagnoses the machine.
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
        disk: std::env::current_dir().ok().map_or_else(DiskDiagnosis::default, |dir| DiskDiagnosis::of(&dir)),
        mpi: mpi_library(),
        ranks: diagnose_ranks(ranks),
        host: System::host_name(),
        os: System::long_os_version(),
    }
}

/// Returns the devices of this machine that the build supports, and the kind itself if there is none of that
/// kind.
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
    fn of(dir: &Path) -> Self {
        let Ok(dir) = fs_err::canonicalize(dir) else { return Self::default() };
        let disks = Disks::new_with_refreshed_list();
        let holding = disks.list().iter().filter(|disk| dir.starts_with(disk.mount_point()));
        let disk = holding.max_by_key(|disk| disk.mount_point().components().count());
        let kind = disk.map(|disk| disk.file_system().to_string_lossy().into_owned());
        Self {
            free_mib: disk.map(|disk| disk.available_space() >> 20),
            shared: kind.as_deref().map(is_shared),
            kind,
            clock_offset_s: clock_offset(&dir),
        }
    }
}

/// Whether file systems of this type are usually shared among machines.
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

/// Measures by how many seconds timestamps of new files in a directory are ahead of this machine's clock.
/// `None` if no file can be written.
fn clock_offset(dir: &Path) -> Option<f64> {
    let before = Timestamp::now();
    let file = tempfile::NamedTempFile::new_in(dir).ok()?;
    let written = Timestamp::try_from(file.as_file().metadata().ok()?.modified().ok()?).ok()?;
    let after = Timestamp::now();
    // The file was written between the two times. Only a timestamp outside of them is off.
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
