//! The sections that belong to the run itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use fineline_diagnostics::{Checker, ConfigSection};
use fineline_kernels::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::device_name::{BUILT_IN, DeviceName};

/// The `[run]` section: name, directory, seed and device of the run.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// Name of the run, for people.
    #[schemars(extend("x-resume" = "may-change"))]
    pub name: String,
    /// Directory of the run. The run writes only there and to `data.cache_dir`.
    #[schemars(extend("x-resume" = "may-change"))]
    pub dir: PathBuf,
    /// Seed of the initialization and of the data order.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Device: `cpu`, `wgpu` (in a build with that feature), or `cuda:N` (in a build with `cuda`). `cuda`
    /// without a number is the k-th device for the k-th process on a machine.
    #[serde(default)]
    pub device: DeviceName,
    /// Precision of the matrix multiplications.
    #[serde(default)]
    pub precision: Precision,
    /// Number of compute threads. Absent: one per core. Results are bit-identical only with the same number
    /// of threads.
    pub threads: Option<usize>,
}

fn default_seed() -> u64 {
    1234
}

/// The `[validation]` section: loss on held-out rows.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// Number of steps between validations. There is also one before the first step and one after the last.
    /// 0: no validation.
    #[schemars(extend("x-resume" = "may-change"))]
    pub every_steps: u64,
    /// Maximum number of rows per source. They are drawn from the whole held-out split and are the same each
    /// time.
    #[schemars(extend("x-resume" = "may-change"))]
    pub rows: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { every_steps: 500, rows: 64 }
    }
}

/// The `[log]` section: logs and metrics.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Number of steps between lines of `metrics.jsonl`.
    pub every_steps: u64,
    /// Whether to write TensorBoard event files.
    pub tensorboard: bool,
    /// Peak performance of one device, in TFLOP/s. Absent: no model FLOP utilization (MFU) is reported.
    pub peak_tflops: Option<f64>,
    /// Maximum number of log lines, over all logs, that are buffered in memory while the disk can't be
    /// written. Beyond that, the run stops after a checkpoint that includes them.
    pub max_buffered_lines: usize,
    /// Whether to write a hash of all parameters to each line of `metrics.jsonl`, and one of each parameter
    /// to `digests.jsonl`, for `verify diff`. For debugging: it takes about as long as copying the model to
    /// the host and hashing it.
    pub digest: bool,
    /// Address at which metrics are served for Prometheus: `"127.0.0.1:9100"`, or a port of the loopback
    /// address. Port 0 selects a free port. Absent: metrics aren't served.
    pub prometheus: Option<ListenAddress>,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            every_steps: 1,
            tensorboard: true,
            peak_tflops: None,
            max_buffered_lines: 10_000,
            digest: false,
            prometheus: None,
        }
    }
}

/// The `[storage]` section: upload to remote storage. Requires a build with `--features storage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Remote storage: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or a path.
    /// Checkpoints and logs are uploaded there in the background. If the remote run is further than the one
    /// in `run.dir`, it is downloaded at the start. Each run needs its own prefix. Credentials come from the
    /// usual environment variables. Absent: no upload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Maximum number of seconds that the end of a run waits for pending uploads.
    pub drain_timeout_s: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { remote: None, drain_timeout_s: 600 }
    }
}

/// An address to listen at. A port alone is a port of the loopback address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "PortOrAddress", into = "String")]
#[schemars(with = "PortOrAddress")]
pub struct ListenAddress(pub SocketAddr);

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum PortOrAddress {
    Port(u16),
    Address(String),
}

impl TryFrom<PortOrAddress> for ListenAddress {
    type Error = String;

    fn try_from(given: PortOrAddress) -> Result<Self, String> {
        let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match given {
            PortOrAddress::Port(port) => Ok(Self(loopback(port))),
            PortOrAddress::Address(text) => match (text.parse(), text.trim_start_matches(':').parse()) {
                (Ok(address), _) => Ok(Self(address)),
                (_, Ok(port)) => Ok(Self(loopback(port))),
                _ => Err(format!(
                    "`{text}` is neither a port nor an address; expected 9100 or \"127.0.0.1:9100\""
                )),
            },
        }
    }
}

impl From<ListenAddress> for String {
    fn from(address: ListenAddress) -> Self {
        address.0.to_string()
    }
}

impl ConfigSection for RunSection {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(!self.name.trim().is_empty(), "name", &self.name, "must not be empty");
        checker.require(!self.dir.as_os_str().is_empty(), "dir", &self.dir, "must be a directory");
        checker.require(self.threads != Some(0), "threads", 0, "must be at least 1");
        if !self.device.is_built_in() {
            let message = format!(
                "this build has {}; build it with `--features {}`",
                BUILT_IN.join(", "),
                self.device.kind()
            );
            checker.report("device", self.device.to_string(), message);
        }
    }
}

impl ConfigSection for ValidationConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(
            self.every_steps == 0 || self.rows > 0,
            "rows",
            self.rows,
            "must be at least 1; every_steps = 0 turns validation off",
        );
    }
}

impl ConfigSection for LogConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        checker.require(self.every_steps > 0, "every_steps", self.every_steps, "must be at least 1");
        if let Some(peak) = self.peak_tflops {
            checker.require(peak.is_finite() && peak > 0.0, "peak_tflops", peak, "must be above 0");
        }
    }
}

impl ConfigSection for StorageConfig {
    #[cfg(feature = "storage")]
    fn check(&self, checker: &mut Checker<'_>) {
        let Some(remote) = &self.remote else { return };
        if let Err(error) = fineline_storage::Store::check_address(remote) {
            checker.report("remote", remote, error.with_causes());
        }
    }

    #[cfg(not(feature = "storage"))]
    fn check(&self, checker: &mut Checker<'_>) {
        let Some(remote) = &self.remote else { return };
        checker.report("remote", remote, "needs a build with `--features storage`");
    }
}
