//! The fine line, on a shorter run of the shipped quickstart: some capabilities emerge early, some late, and
//! some not at all.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::Workplace;

const STEPS: u64 = 600;
const EVERY: u64 = 60;

/// Returns, for each task, the step from which the 95 % interval of its accuracy is above chance in every
/// round. This must hold for at least the last two rounds, because one alone may be luck.
fn arrivals(records: &[Value]) -> BTreeMap<String, Option<u64>> {
    let mut rounds = BTreeMap::<String, Vec<(u64, bool)>>::new();
    for record in records.iter().filter(|record| record.get("members").is_none()) {
        let Some(chance) = record["chance"].as_f64() else { continue };
        let above = record["metrics"]["acc"]["lo"].as_f64().unwrap() > chance;
        let task = record["task"].as_str().unwrap().to_owned();
        rounds.entry(task).or_default().push((record["step"].as_u64().unwrap(), above));
    }
    let arrival = |rounds: &[(u64, bool)]| {
        let above: Vec<u64> = rounds.iter().rev().take_while(|round| round.1).map(|round| round.0).collect();
        above.last().copied().filter(|_| above.len() >= 2)
    };
    rounds.into_iter().map(|(task, rounds)| (task, arrival(&rounds))).collect()
}

#[test]
fn capabilities_emerge_at_different_steps() {
    let place = Workplace::new();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/quickstart.toml");
    let overrides = [
        &format!("train.steps={STEPS}"),
        "run.dir=quickstart",
        "data.cache_dir=cache",
        &format!("checkpoint.every_steps={STEPS}"),
        "validation.every_steps=0",
        &format!("probes=[{{suite=\"tinyworld\", every_steps={EVERY}, log_spaced=false, limit=150}}]"),
    ];
    let mut arguments = vec!["train", config.to_str().unwrap()];
    arguments.extend(overrides.iter().flat_map(|value| ["--set", value]));
    place.run(&arguments).success();

    let arrivals = arrivals(&place.log("quickstart/probes.jsonl"));
    let arrived: Vec<u64> = arrivals.values().flatten().copied().collect();
    assert!(arrived.len() >= 3, "too few end above chance: {arrivals:?}");
    assert!(arrived.iter().any(|&step| step <= STEPS / 5), "none in the first fifth: {arrivals:?}");
    assert!(arrived.iter().any(|&step| step > STEPS / 2), "none only in the second half: {arrivals:?}");
    assert!(arrivals.len() - arrived.len() >= 3, "too few stay at chance: {arrivals:?}");
}
