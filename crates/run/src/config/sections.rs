//! The sections that belong to the run itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use fineline_diagnostics::{Checker, ConfigSection};
use fineline_kernels::Precision;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::device_name::{BUILT_IN, DeviceName};

/// The `[run]` section.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// A name for people.
    #[schemars(extend("x-resume" = "may-change"))]
    pub name: String,
    /// The run's folder; everything that the run writes is in it.
    #[schemars(extend("x-resume" = "may-change"))]
    pub dir: PathBuf,
    /// The seed of initialization and data order.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where tensors live: `cpu`; `wgpu`, in a build with that feature; `cuda:N`, in a build with `cuda`. `cuda` alone is, for the k-th process of a
    /// machine, its k-th device.
    #[serde(default)]
    pub device: DeviceName,
    /// Precision of the matrix multiplications.
    #[serde(default)]
    pub precision: Precision,
    /// Threads for computation; absent: one per core. Results are bit-identical only at equal thread counts.
    pub threads: Option<usize>,
}

fn default_seed() -> u64 {
    1234
}

/// The `[validation]` section.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// Steps between two measurements; there is one at the start and one at the end besides. 0: none at all.
    #[schemars(extend("x-resume" = "may-change"))]
    pub every_steps: u64,
    /// Rows per source at most: the same ones, drawn from all of the split, each time.
    #[schemars(extend("x-resume" = "may-change"))]
    pub rows: usize,
}

impl Default for ValidationConfig {
    fn default() -> Self {
        Self { every_steps: 500, rows: 64 }
    }
}

/// The `[log]` section.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Steps between two lines of `metrics.jsonl`.
    pub every_steps: u64,
    /// Whether TensorBoard event files are written.
    pub tensorboard: bool,
    /// What one device can do at most, in TFLOP/s; without it, no model FLOP utilization is reported.
    pub peak_tflops: Option<f64>,
    /// Lines of all logs that are kept in memory while the disk takes none. With more the run stops, after a checkpoint that carries them.
    pub max_buffered_lines: usize,
    /// Whether each step's line in `metrics.jsonl` has a hash of all parameters, and `digests.jsonl` one of each: what `verify diff` tells runs apart by. For
    /// debugging; it takes about as long as copying the model to the host and hashing it.
    pub digest: bool,
    /// Where metrics are served for Prometheus, as `"127.0.0.1:9100"` or a port (of the loopback address); port 0 is any free one. Absent: nowhere.
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

/// The `[storage]` section: a copy of the run elsewhere. It takes a build with `--features storage`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Where checkpoints and logs are copied to in the background, and where a run is brought back from that is further there than in its folder:
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or a path. Each run needs one of its own. Credentials come from the usual
    /// environment variables. Absent: no copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Seconds that the end of a run waits at most for what is still to be copied.
    pub drain_timeout_s: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { remote: None, drain_timeout_s: 600 }
    }
}

/// An address to listen at: a port alone is one of the loopback address.
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
