//! Probes look and don't touch; what they see can be computed again.

use serde_json::Value;

use crate::support::{Workplace, files_below};

#[test]
fn a_run_with_probes_has_the_losses_of_one_without() {
    let place = Workplace::new();
    place.train(&["run.dir=with"]);
    place.train(&["run.dir=without", "validation.every_steps=0", "probes=[]"]);
    assert_eq!(place.log("with/metrics.jsonl"), place.log("without/metrics.jsonl"));
    let weights =
        |run: &str| fs_err::read(place.path(&format!("{run}/checkpoints/step-00000012/model.safetensors")));
    assert_eq!(weights("with").unwrap(), weights("without").unwrap());
    assert!(!place.log("with/probes.jsonl").is_empty());
    assert!(place.log("without/probes.jsonl").is_empty());
}

/// Probes of what the model learns within a context, and of how it represents texts.
const INNER: &str =
    "probes=[{suite=\"in_context\",every_steps=6,items=2},{suite=\"representation\",every_steps=6,items=8}]";

#[test]
fn examples_and_representations_are_looked_at_without_a_trace_in_training() {
    let place = Workplace::new();
    place.train(&["run.dir=with", INNER]);
    place.train(&["run.dir=without", "validation.every_steps=0", "probes=[]"]);
    assert_eq!(place.log("with/metrics.jsonl"), place.log("without/metrics.jsonl"));
    let weights =
        |run: &str| fs_err::read(place.path(&format!("{run}/checkpoints/step-00000012/model.safetensors")));
    assert_eq!(weights("with").unwrap(), weights("without").unwrap());

    let records = place.log("with/probes.jsonl");
    let of = |task: &str| records.iter().filter(|record| record["task"] == task).collect::<Vec<_>>();
    let linear = of("in_context_linear");
    assert_eq!(linear.len(), 6);
    assert!(linear.iter().all(|record| record["metrics"]["nats_at_2"]["value"].as_f64().unwrap() > 0.0));
    let representation = of("representation");
    assert!(representation[0]["metrics"]["cka_previous_mean"]["value"].is_null());
    for record in &representation[1..] {
        for metric in ["cka_previous_mean", "cka_first_mean", "cka_adjacent_mean"] {
            assert!(record["metrics"][metric]["stderr"].is_number(), "{metric} in {record}");
        }
    }
    let names: Vec<_> =
        files_below(&place.path("with/representations")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2 * 6, "{names:?}");
    assert!(names.iter().any(|name| name.ends_with("step-00000012.parquet")), "{names:?}");
    assert!(!place.path("without/representations").exists());

    let offline = ["probe", "with/checkpoints/step-00000012", "--suite", "representation", "--out", "scores"];
    place.run(&offline).success();
    let offline = place.log("scores/probes.jsonl");
    assert_eq!(offline[0]["metrics"]["cka_adjacent_mean"], representation[5]["metrics"]["cka_adjacent_mean"]);
    assert!(place.path("scores/representations.parquet").is_file());
}

/// A round after a resumption is held to the one before it, which another process has stored.
#[test]
fn representations_of_a_resumed_run_are_those_of_an_unbroken_one() {
    let place = Workplace::new();
    place.train(&["run.dir=unbroken", INNER]);
    place.train(&["run.dir=resumed", INNER]);
    let checkpoints = place.path("resumed/checkpoints");
    for step in [8, 12] {
        fs_err::remove_dir_all(checkpoints.join(format!("step-{step:08}"))).unwrap();
    }
    fs_err::write(checkpoints.join("latest"), "step-00000004").unwrap();
    place.train(&["run.dir=resumed", INNER]);
    assert!(place.log("resumed/events.jsonl").iter().any(|event| event["event"] == "resumed"));
    let files = |run: &str| files_below(&place.path(&format!("{run}/representations")));
    assert!(!files("resumed").is_empty());
    assert_eq!(files("resumed"), files("unbroken"));
    assert_eq!(place.log("resumed/probes.jsonl"), place.log("unbroken/probes.jsonl"));
}

/// Steps 1, 2, 4 and then every sixth, the start and the end.
#[test]
fn probes_come_log_spaced_and_then_regularly() {
    let place = Workplace::new();
    place.train(&[]);
    let mut steps: Vec<u64> = place
        .log("run/probes.jsonl")
        .iter()
        .filter(|record| record["task"] != "validation/world")
        .map(|record| record["step"].as_u64().unwrap())
        .collect();
    steps.dedup();
    assert_eq!(steps, [0, 1, 2, 4, 6, 12]);
}

#[test]
fn offline_scores_are_those_of_the_loop_to_the_bit() {
    let place = Workplace::new();
    place.train(&[]);
    let arguments = ["probe", "run/checkpoints/step-00000012", "--suite", "tinyworld", "--out", "scores"];
    place.run(&arguments).success();
    let in_loop: Vec<Value> = place
        .log("run/probes.jsonl")
        .into_iter()
        .filter(|record| record["step"] == 12 && record["task"] != "validation/world")
        .collect();
    let offline = place.log("scores/probes.jsonl");
    assert_eq!(in_loop.len(), offline.len());
    for (in_loop, offline) in in_loop.iter().zip(&offline) {
        for key in ["step", "tokens", "task", "n", "metrics", "chance", "provenance"] {
            assert_eq!(in_loop[key], offline[key], "{key} of {}", in_loop["task"]);
        }
    }
    assert!(place.path("scores/items.parquet").is_file());
    let results: Value =
        serde_json::from_slice(&fs_err::read(place.path("scores/results.json")).unwrap()).unwrap();
    let task = offline[0]["task"].as_str().unwrap();
    assert!(results["results"][task].get("acc,none").is_some(), "{results}");
}

#[test]
fn every_record_has_what_the_documentation_says() {
    let place = Workplace::new();
    place.train(&[]);
    for record in place.log("run/probes.jsonl") {
        for key in [
            "step",
            "tokens",
            "task",
            "domain",
            "n",
            "shots",
            "chance",
            "metrics",
            "delta",
            "phase",
            "provenance",
        ] {
            assert!(record.get(key).is_some(), "{key} in {record}");
        }
        for estimate in record["metrics"].as_object().unwrap().values() {
            for part in ["value", "stderr", "lo", "hi"] {
                assert!(estimate.get(part).is_some(), "{part} in {estimate}");
            }
        }
    }
    let items = files_below(&place.path("run/items"));
    assert!(items.iter().any(|(name, _)| name.ends_with("step-00000012.parquet")));
}

#[test]
fn single_tasks_and_fewer_items_can_be_asked() {
    let place = Workplace::new();
    place.train(&["probes=[]"]);
    let checkpoint = "run/checkpoints/step-00000012";
    let all =
        place.run(&["probe", checkpoint, "--suite", "tinyworld", "--limit", "2", "--json"]).success().json();
    let names: Vec<&String> = all["results"].as_object().unwrap().keys().collect();
    assert!(names.len() >= 10, "{names:?}");
    let one = place
        .run(&["probe", checkpoint, "--suite", "tinyworld", "--limit", "2", "--tasks", names[0], "--json"])
        .success()
        .json();
    assert_eq!(one["results"].as_object().unwrap().len(), 1);
    assert_eq!(one["results"][names[0]], all["results"][names[0]]);
    assert_eq!(one["n-samples"][names[0]]["effective"], 2);
}
