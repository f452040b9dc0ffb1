//! Checks of a whole configuration: each section by itself, then sections against one another.

use std::collections::BTreeSet;

use fineline_data::{ChunkShuffle, MIN_VOCAB_SIZE};
use fineline_diagnostics::{Checker, ConfigSection, Key, Problem, Problems};

use super::device_name::DeviceName;
use super::recipe::recipe;
use super::run_config::RunConfig;

impl ConfigSection for RunConfig {
    fn check(&self, checker: &mut Checker<'_>) {
        check(self, &BTreeSet::new()).into_iter().for_each(|problem| checker.push(problem));
    }
}

/// A check of the named sections against one another.
type Combination = (&'static [&'static str], fn(&RunConfig, &mut Checker<'_>));

const COMBINATIONS: [Combination; 6] = [
    (&["data", "guard", "optim", "schedule", "train"], check_recipe),
    (&["model", "tokenizer"], check_vocabulary),
    (&["data", "model"], check_positions),
    (&["data", "guard"], check_skipped_chunk),
    (&["data", "run"], check_numpy_seeds),
    (&["distributed"], check_devices),
];

/// Checks all sections but the `unread` ones, and valid sections against one another.
pub(super) fn check(config: &RunConfig, unread: &BTreeSet<String>) -> Problems {
    let mut problems = Problems::default();
    check_sections(config, &mut Checker::new(Key::default(), &mut problems));
    let mut problems: Problems =
        problems.into_iter().filter(|problem| !unread.contains(&section_of(&problem.key))).collect();
    let invalid: BTreeSet<String> = problems.iter().map(|problem| section_of(&problem.key)).collect();
    for (sections, check) in COMBINATIONS {
        if !sections.iter().any(|section| unread.contains(*section) || invalid.contains(*section)) {
            check(config, &mut Checker::new(Key::default(), &mut problems));
        }
    }
    problems
}

/// The name of the section that contains a key.
pub(super) fn section_of(key: &Key) -> String {
    key.segments().first().map(ToString::to_string).unwrap_or_default()
}

fn check_sections(config: &RunConfig, checker: &mut Checker<'_>) {
    let sections: [(&str, &dyn ConfigSection); 12] = [
        ("run", &config.run),
        ("model", &config.model),
        ("data", &config.data),
        ("optim", &config.optim),
        ("schedule", &config.schedule),
        ("train", &config.train),
        ("checkpoint", &config.checkpoint),
        ("storage", &config.storage),
        ("validation", &config.validation),
        ("guard", &config.guard),
        ("distributed", &config.distributed),
        ("log", &config.log),
    ];
    for (name, section) in sections {
        section.check(&mut checker.nested(name));
    }
    if let Some(init) = &config.init {
        init.check(&mut checker.nested("init"));
    }
    for (index, probes) in config.probes.iter().enumerate() {
        probes.check(&mut checker.item("probes", index));
    }
    let mut names = BTreeSet::new();
    for (index, trigger) in config.triggers.iter().enumerate() {
        let mut item = checker.item("triggers", index);
        trigger.check(&mut item);
        let is_new = names.insert(&trigger.name);
        item.require(is_new, "name", &trigger.name, "must differ from the names of the other triggers");
    }
}

fn check_recipe(config: &RunConfig, checker: &mut Checker<'_>) {
    recipe(config).check_combination(checker);
}

fn check_vocabulary(config: &RunConfig, checker: &mut Checker<'_>) {
    let (size, vocab_size) = (config.tokenizer.train_vocab_size, config.model.vocab_size);
    if config.tokenizer.path.is_none() && !(MIN_VOCAB_SIZE..=vocab_size).contains(&size) {
        let message = format!("must be from {MIN_VOCAB_SIZE} to model.vocab_size = {vocab_size}");
        checker.nested("tokenizer").report("train_vocab_size", size, message);
    }
}

fn check_positions(config: &RunConfig, checker: &mut Checker<'_>) {
    let (seq_len, positions) = (config.data.seq_len, config.model.max_position_embeddings);
    let message = format!("must not be above model.max_position_embeddings = {positions}");
    checker.nested("data").require(seq_len <= positions, "seq_len", seq_len, message);
}

fn check_skipped_chunk(config: &RunConfig, checker: &mut Checker<'_>) {
    let is_possible = !config.guard.skip_chunk || config.data.chunks.is_some();
    checker.nested("guard").require(is_possible, "skip_chunk", true, "needs chunks ([data.chunks])");
}

fn check_numpy_seeds(config: &RunConfig, checker: &mut Checker<'_>) {
    let Some(chunks) = config.data.chunks.as_ref().filter(|chunks| chunks.shuffle == ChunkShuffle::Numpy)
    else {
        return;
    };
    let seed = config.run.seed;
    let last = seed.checked_add(chunks.count).is_some_and(|last| u32::try_from(last).is_ok());
    let message = "plus the number of a chunk must be below 2^32, as NumPy's seeds are";
    checker.nested("run").require(last, "seed", seed, message);
}

fn check_devices(config: &RunConfig, checker: &mut Checker<'_>) {
    let (device, ranks) = (config.run.device, config.distributed.ranks_per_process);
    if let (DeviceName::Cuda(Some(_)), 2..) = (device, ranks) {
        let message = format!("needs several devices, but run.device is \"{device}\"");
        let problem = Problem::new(checker.nested("distributed").key("ranks_per_process"), message);
        checker.push(problem.with_value(ranks).with_remedy("set run.device to \"cuda\""));
    }
}
