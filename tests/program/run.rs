//! What a run leaves behind.

use serde_json::Value;

use crate::support::{Workplace, files_below};

#[test]
fn a_run_leaves_what_the_documentation_says() {
    let place = Workplace::new();
    let finished = place.train(&[]);
    assert!(finished.stdout().contains("95 % interval"), "the probe table is printed: {}", finished.stdout());
    for file in
        ["config.toml", "run.json", "metrics.jsonl", "probes.jsonl", "events.jsonl", "checkpoints/latest"]
    {
        assert!(place.path(&format!("run/{file}")).is_file(), "{file}");
    }
    let metrics = place.log("run/metrics.jsonl");
    let steps: Vec<u64> = metrics.iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (1..=12).collect::<Vec<_>>());
    assert_eq!(metrics[11]["tokens"], 12 * 4 * 32);
    assert_eq!(metrics[0]["mfu"], Value::Null, "no peak was stated");
    assert!(metrics[11]["loss"].as_f64().unwrap() < metrics[0]["loss"].as_f64().unwrap());
    assert_eq!(fs_err::read_to_string(place.path("run/checkpoints/latest")).unwrap().trim(), "step-00000012");
    assert_eq!(fs_err::read_dir(place.path("run/tensorboard")).unwrap().count(), 1);
    let events: Vec<Value> =
        place.log("run/events.jsonl").iter().map(|event| event["event"].clone()).collect();
    assert_eq!(events.first().unwrap(), "started");
    assert_eq!(events.last().unwrap(), "finished");
}

#[test]
fn the_same_run_twice_leaves_the_same_bytes() {
    let place = Workplace::new();
    place.train(&["run.dir=one"]);
    place.train(&["run.dir=two"]);
    assert_eq!(files_below(&place.path("one/checkpoints")), files_below(&place.path("two/checkpoints")));
    assert_eq!(files_below(&place.path("one/items")), files_below(&place.path("two/items")));
    assert_eq!(place.log("one/metrics.jsonl"), place.log("two/metrics.jsonl"));
}

#[test]
fn another_seed_is_another_run() {
    let place = Workplace::new();
    place.train(&["run.dir=one"]);
    place.train(&["run.dir=two", "run.seed=8"]);
    assert_ne!(place.log("one/metrics.jsonl"), place.log("two/metrics.jsonl"));
}

#[test]
fn retention_keeps_the_last_and_the_multiples() {
    let place = Workplace::new();
    place.train(&["checkpoint.every_steps=2", "checkpoint.keep_last=1", "checkpoint.keep_every=6"]);
    let mut kept: Vec<String> = fs_err::read_dir(place.path("run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    kept.sort();
    assert_eq!(kept, ["latest", "step-00000006", "step-00000012"]);
}

#[test]
fn a_trained_model_continues_a_text() {
    let place = Workplace::new();
    place.train(&[]);
    let arguments =
        ["generate", "run/checkpoints/step-00000012", "--prompt", "The", "--max-new-tokens", "5", "--json"];
    let greedy = |extra: &[&str]| place.run(&[&arguments[..], extra].concat()).success().json();
    let first = greedy(&["--greedy"]);
    assert!(first["ids"].as_array().unwrap().len() <= 5 && first["text"].is_string(), "{first}");
    assert_eq!(first, greedy(&["--greedy"]));
    assert_eq!(greedy(&["--seed", "1"]), greedy(&["--seed", "1"]));
}

#[test]
fn watch_shows_where_a_run_stands() {
    let place = Workplace::new();
    place.train(&[]);
    let shown = place.run(&["watch", "run", "--once"]).success().stdout();
    assert!(shown.contains("step 12 of 12"), "{shown}");
    assert!(shown.contains("probes at step 12"), "{shown}");
}

#[test]
fn bench_and_doctor_report_as_json() {
    let place = Workplace::new();
    let measured = place.run(&["bench", "tiny.toml", "--steps", "3", "--probes", "--json"]).success().json();
    for key in ["tokens_per_s", "step_s", "parameters"] {
        assert!(measured[key].as_f64().unwrap() > 0.0, "{key}: {measured}");
    }
    assert!(measured["probes"]["requests"].as_u64().unwrap() > 0);
    let found = place.run(&["doctor", "--json"]).success().json();
    assert_eq!(found["devices"][0]["name"], "cpu");
    assert_eq!(found["devices"][0]["problem"], Value::Null);
}
