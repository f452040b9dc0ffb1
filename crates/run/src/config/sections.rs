//! The sections that belong to the run itself, and what sections ask of one another.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use fineline_data::{ChunkShuffle, LEAST_VOCABULARY};
use fineline_train::ScheduleKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RunConfig;
use crate::device::{BUILT_IN, DeviceName};

/// The `[run]` section.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSection {
    /// A name for people.
    pub name: String,
    /// The run's folder; everything that the run writes is in it.
    pub dir: PathBuf,
    /// The seed of initialization and data order.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Where tensors live: `cpu`; `wgpu`, in a build with that feature; `cuda:N`, in a build with `cuda`. `cuda` alone is, for the k-th process of a
    /// machine, its k-th device.
    #[serde(default)]
    pub device: DeviceName,
    /// What the products of matrices are computed in.
    #[serde(default)]
    pub precision: Precision,
    /// Threads for computation; absent: one per core. Results are bit-identical only at equal thread counts.
    pub threads: Option<usize>,
}

fn default_seed() -> u64 {
    1234
}

/// Precision of the matrix products and what lies between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Precision {
    /// float32 throughout.
    #[default]
    #[serde(rename = "f32")]
    F32,
    /// bfloat16, but for what is always float32: parameters, moments, sums of gradients, norms, softmax, logits, loss. `cpu` emulates it, in no less time;
    /// `cuda` computes in it where the device has it; `wgpu` does not have it.
    #[serde(rename = "bf16-mixed")]
    Bf16Mixed,
}

impl Precision {
    /// As configurations write it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16Mixed => "bf16-mixed",
        }
    }
}

impl From<Precision> for fineline_kernels::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F32 => Self::F32,
            Precision::Bf16Mixed => Self::Bf16Mixed,
        }
    }
}

/// The `[validation]` section.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ValidationConfig {
    /// Steps between two measurements; there is one at the start and one at the end besides. 0: none at all.
    pub every_steps: u64,
    /// Rows per source at most: the same ones, drawn from all of the split, each time.
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
    pub keep_unwritten: usize,
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
            keep_unwritten: 10_000,
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
    pub mirror: Option<String>,
    /// Seconds that the end of a run waits at most for what is still to be copied.
    pub wait_s: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self { mirror: None, wait_s: 600 }
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

/// Something wrong with the value at `key`: a message that goes on after the key.
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) message: String,
}

/// Everything that is out of range or contradicts something else.
pub(super) fn problems(config: &RunConfig) -> Vec<Problem> {
    let mut found = own_problems(config);
    found.extend(long_warmup(config));
    let init = config.init.as_ref().and_then(super::InitConfig::problem);
    found.extend(init.map(|(key, message)| Problem { key: key.to_owned(), message }));
    found.extend(section_problems(config));
    found
}

fn own_problems(config: &RunConfig) -> Vec<Problem> {
    let mut found = Vec::new();
    let mut require = |holds: bool, key: &str, message: String| {
        if !holds {
            found.push(Problem { key: key.to_owned(), message });
        }
    };
    require(!config.run.name.trim().is_empty(), "run.name", "must not be empty".into());
    require(!config.run.dir.as_os_str().is_empty(), "run.dir", "must be a folder".into());
    require(config.run.threads != Some(0), "run.threads", "must be at least 1".into());
    let mirror = crate::mirror::problem(config);
    require(mirror.is_none(), "storage.mirror", mirror.unwrap_or_default());
    require(config.log.every_steps > 0, "log.every_steps", "must be at least 1".into());
    require(
        config.validation.every_steps == 0 || config.validation.rows > 0,
        "validation.rows",
        "must be at least 1; `every_steps = 0` turns validation off".into(),
    );
    let vocab_size = config.tokenizer.train_vocab_size;
    require(
        config.tokenizer.path.is_some() || (LEAST_VOCABULARY..=config.model.vocab_size).contains(&vocab_size),
        "tokenizer.train_vocab_size",
        format!(
            "({vocab_size}) must be at least {LEAST_VOCABULARY} and not above model.vocab_size ({})",
            config.model.vocab_size
        ),
    );
    require(
        config.log.peak_tflops.is_none_or(|peak| peak.is_finite() && peak > 0.0),
        "log.peak_tflops",
        "must be a positive number".into(),
    );
    let last_seed = config.data.chunks.as_ref().and_then(|chunks| config.run.seed.checked_add(chunks.count));
    require(
        config.data.chunks.as_ref().is_none_or(|chunks| chunks.shuffle != ChunkShuffle::Numpy)
            || last_seed.is_some_and(|seed| u32::try_from(seed).is_ok()),
        "run.seed",
        format!("({}) plus the number of a chunk must be below 2^32, as NumPy's seeds are", config.run.seed),
    );
    require(
        !config.guard.leave_out_chunk || config.data.chunks.is_some(),
        "guard.leave_out_chunk",
        "needs chunks (`[data.chunks]`)".into(),
    );
    let device = config.run.device;
    require(
        !matches!((device, config.distributed.ranks_per_process), (DeviceName::Cuda(Some(_)), 2..)),
        "distributed.ranks_per_process",
        format!("asks for several devices, but `run.device` is \"{device}\": make that \"cuda\""),
    );
    require(
        device.is_built_in(),
        "run.device",
        format!(
            "is \"{device}\", which takes a build with `--features {}`; this one has {}",
            device.kind(),
            BUILT_IN.join(", ")
        ),
    );
    let (seq_len, positions) = (config.data.seq_len, config.model.max_position_embeddings);
    require(
        seq_len <= positions,
        "data.seq_len",
        format!("({seq_len}) must not exceed model.max_position_embeddings ({positions})"),
    );
    found
}

/// A warm-up that the decay comes before, where nobody said when that starts: then it is the warm-up that is too long.
fn long_warmup(config: &RunConfig) -> Option<Problem> {
    let schedule = &config.schedule;
    if schedule.decay_start.is_some() || schedule.kind == ScheduleKind::Constant {
        return None;
    }
    let length = config.train.total_steps(config.data.seq_len).ok()?;
    let end = schedule.decay_end.unwrap_or(length);
    let latest = if schedule.kind == ScheduleKind::Wsd { end - end / 10 } else { end };
    let end = match (schedule.decay_end, config.train.tokens) {
        (Some(_), _) => "schedule.decay_end",
        (None, Some(_)) => "the end of the run (train.tokens)",
        (None, None) => "the end of the run (train.steps)",
    };
    let before = if schedule.kind == ScheduleKind::Wsd { "a tenth before " } else { "" };
    (schedule.warmup_steps > latest).then(|| Problem {
        key: "schedule.warmup_steps".to_owned(),
        message: format!("({}) must not be above {latest}, {before}{end}", schedule.warmup_steps),
    })
}

/// What each section finds wrong with itself.
fn section_problems(config: &RunConfig) -> Vec<Problem> {
    let mut found = Vec::new();
    if let Err(fineline_data::DataError::Config { key, value, expected }) = config.data.validate() {
        found.push(Problem { key, message: format!("is {value}: {expected}") });
    }
    if let Err(fineline_model::ModelConfigError::Invalid { key, message }) = config.model.validate() {
        found.push(Problem { key: format!("model.{key}"), message: format!("can't be: {message}") });
    }
    for (place, probes) in config.probes.iter().enumerate() {
        if let Some((field, expected)) = probes.problem() {
            found.push(Problem {
                key: format!("probes[{place}].{field}"),
                message: format!("is wrong: {expected}"),
            });
        }
    }
    let mut names = std::collections::BTreeSet::new();
    for (place, trigger) in config.triggers.iter().enumerate() {
        let twice =
            (!names.insert(&trigger.name)).then_some(("name", "expected another name than an earlier one's"));
        if let Some((field, expected)) = trigger.problem().or(twice) {
            found.push(Problem {
                key: format!("triggers[{place}].{field}"),
                message: format!("is wrong: {expected}"),
            });
        }
    }
    let recipe = crate::lifecycle::recipe(config);
    for checked in [recipe.validate().map(drop), config.checkpoint.validate(), config.distributed.validate()]
    {
        if let Err(fineline_train::TrainError::Config { key, reason }) = checked {
            found.push(Problem { key: key.to_owned(), message: reason });
        }
    }
    found
}
