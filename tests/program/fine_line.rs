//! The fine line, on a shorter run of the shipped quickstart: some capabilities come early, some late, some not at all.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::Workplace;

const STEPS: u64 = 500;
const EVERY: u64 = 50;

/// The steps at which each task's accuracy has its 95 % interval clear above chance.
fn steps_above_chance(records: &[Value]) -> BTreeMap<String, Vec<u64>> {
    let mut above = BTreeMap::<String, Vec<u64>>::new();
    for record in records {
        let Some(chance) = record["chance"].as_f64() else { continue };
        let steps = above.entry(record["task"].as_str().unwrap().to_owned()).or_default();
        if record["metrics"]["acc"]["lo"].as_f64().unwrap() > chance {
            steps.push(record["step"].as_u64().unwrap());
        }
    }
    above
}

#[test]
fn capabilities_come_at_their_own_times() {
    let place = Workplace::new();
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs/quickstart.toml");
    let overrides = [
        &format!("train.steps={STEPS}"),
        "run.dir=quickstart",
        "data.cache=cache",
        "checkpoint.every_steps=500",
        "validation.every_steps=0",
        &format!("probes=[{{suite=\"tinyworld\", every_steps={EVERY}, log_spaced=false, items=150}}]"),
    ];
    let mut arguments = vec!["train", config.to_str().unwrap()];
    arguments.extend(overrides.iter().flat_map(|value| ["--set", value]));
    place.run(&arguments).success();

    let above = steps_above_chance(&place.log("quickstart/probes.jsonl"));
    let holds_from = |task: &str| {
        // From this step on the task is above chance in every round.
        let steps = &above[task];
        (0..=STEPS / EVERY).rev().map(|round| round * EVERY).take_while(|step| steps.contains(step)).last()
    };
    let early: Vec<&String> =
        above.keys().filter(|task| holds_from(task).is_some_and(|step| step <= STEPS / 5)).collect();
    let late: Vec<&String> =
        above.keys().filter(|task| holds_from(task).is_some_and(|step| step > STEPS / 2)).collect();
    let never: Vec<&String> = above.keys().filter(|task| holds_from(task).is_none()).collect();
    assert!(!early.is_empty(), "none in the first fifth: {above:?}");
    assert!(!late.is_empty(), "none in the second half: {above:?}");
    assert!(never.len() >= 3, "too few stay at chance: {above:?}");
}
