//! What sections find wrong with themselves, and ask of one another.

use std::collections::BTreeSet;

use fineline_data::{ChunkShuffle, MIN_VOCAB_SIZE};
use fineline_train::ScheduleKind;

use super::device_name::{BUILT_IN, DeviceName};
use super::init::InitConfig;
use super::recipe::recipe;
use super::run_config::RunConfig;

/// Something wrong with the value at `key`: a message that goes on after the key.
pub(super) struct Problem {
    pub(super) key: String,
    pub(super) message: String,
}

/// Everything that is out of range or contradicts something else.
pub(super) fn problems(config: &RunConfig) -> Vec<Problem> {
    let mut found = own_problems(config);
    found.extend(long_warmup(config));
    let init = config.init.as_ref().and_then(InitConfig::problem);
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
    let mirror = remote_problem(config);
    require(mirror.is_none(), "storage.remote", mirror.unwrap_or_default());
    require(config.log.every_steps > 0, "log.every_steps", "must be at least 1".into());
    require(
        config.validation.every_steps == 0 || config.validation.rows > 0,
        "validation.rows",
        "must be at least 1; `every_steps = 0` turns validation off".into(),
    );
    let vocab_size = config.tokenizer.train_vocab_size;
    require(
        config.tokenizer.path.is_some() || (MIN_VOCAB_SIZE..=config.model.vocab_size).contains(&vocab_size),
        "tokenizer.train_vocab_size",
        format!(
            "({vocab_size}) must be at least {MIN_VOCAB_SIZE} and not above model.vocab_size ({})",
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
        !config.guard.skip_chunk || config.data.chunks.is_some(),
        "guard.skip_chunk",
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
    let mut names = BTreeSet::new();
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
    let recipe = recipe(config);
    for checked in [recipe.validate().map(drop), config.checkpoint.validate(), config.distributed.validate()]
    {
        if let Err(fineline_train::TrainError::Config { key, reason }) = checked {
            found.push(Problem { key: key.to_owned(), message: reason });
        }
    }
    found
}

/// What is wrong with `storage.remote`.
#[cfg(feature = "storage")]
fn remote_problem(config: &RunConfig) -> Option<String> {
    let mirror = config.storage.remote.as_ref()?;
    fineline_storage::Store::check_address(mirror)
        .err()
        .map(|error| format!("can't be used: {}", error.with_causes()))
}

/// What is wrong with `storage.remote`.
#[cfg(not(feature = "storage"))]
fn remote_problem(config: &RunConfig) -> Option<String> {
    let mirror = config.storage.remote.as_ref()?;
    Some(format!("is \"{mirror}\", which this build can't use; build it with `--features storage`"))
}
