//! The files and output of a run.

use serde_json::Value;

use crate::support::{Workplace, files_below};

#[test]
fn a_run_writes_the_documented_files() {
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
    assert_eq!(metrics[0]["mfu"], Value::Null, "no peak is configured");
    assert!(metrics[11]["loss"].as_f64().unwrap() < metrics[0]["loss"].as_f64().unwrap());
    assert_eq!(fs_err::read_to_string(place.path("run/checkpoints/latest")).unwrap().trim(), "step-00000012");
    assert_eq!(fs_err::read_dir(place.path("run/tensorboard")).unwrap().count(), 1);
    let events: Vec<Value> =
        place.log("run/events.jsonl").iter().map(|event| event["event"].clone()).collect();
    assert_eq!(events.first().unwrap(), "started");
    assert_eq!(events.last().unwrap(), "finished");
}

#[test]
fn two_runs_write_the_same_bytes() {
    let place = Workplace::new();
    place.train(&["run.dir=one"]);
    place.train(&["run.dir=two"]);
    assert_eq!(files_below(&place.path("one/checkpoints")), files_below(&place.path("two/checkpoints")));
    assert_eq!(files_below(&place.path("one/items")), files_below(&place.path("two/items")));
    assert_eq!(place.log("one/metrics.jsonl"), place.log("two/metrics.jsonl"));
}

#[test]
fn another_seed_changes_the_run() {
    let place = Workplace::new();
    place.train(&["run.dir=one"]);
    place.train(&["run.dir=two", "run.seed=8"]);
    assert_ne!(place.log("one/metrics.jsonl"), place.log("two/metrics.jsonl"));
}

#[test]
fn retention_keeps_the_last_checkpoints_and_the_multiples() {
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
fn watch_shows_the_progress_of_a_run() {
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

/// With JSON logs, standard error contains only JSON: events, notes, diagnostics, and the error of a failed
/// command.
#[test]
fn every_line_of_a_json_log_is_an_object() {
    let place = Workplace::new();
    let said = |arguments: &[&str], code: i32| -> Vec<Value> {
        let finished = place.run(&[&["--log-format", "json"], arguments].concat()).fails_with(code);
        let lines: Vec<Value> = finished
            .stderr()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .collect();
        assert!(lines.iter().all(|line| line["level"].is_string() && line["fields"]["message"].is_string()));
        lines
    };
    let messages =
        |lines: &[Value]| lines.iter().map(|line| line["fields"]["message"].to_string()).collect::<String>();
    let trained = said(&["train", "tiny.toml"], 0);
    assert!(
        messages(&trained).contains("training ") && messages(&trained).contains("finished"),
        "{trained:?}"
    );
    assert!(trained.iter().any(|line| line["fields"]["step"] == 4), "{trained:?}");
    // A damaged checkpoint causes a warning.
    fs_err::write(place.path("run/checkpoints/step-00000012/model.safetensors"), "x").unwrap();
    assert!(messages(&said(&["train", "tiny.toml"], 0)).contains("skipped the damaged checkpoint"));
    let cases: [(&[&str], &str); 4] = [
        (&["train", "absent.toml"], "absent.toml"),
        (&["train", "tiny.toml", "--set", "optim.lr=-1"], "optim.lr"),
        (&["train", "tiny.toml", "--resume", "never"], "there already is a run in this directory"),
        (&["generate", "run", "--prompt", "a", "--top-k", "0"], "--top-k"),
    ];
    for (arguments, expected) in cases {
        let lines = said(arguments, 2);
        assert!(lines.len() == 1 && lines[0]["level"] == "ERROR", "{lines:?}");
        assert!(messages(&lines).contains(expected), "{lines:?}");
    }
}

/// With two tables of one suite, each with its own tasks and limit, a checkpoint is evaluated on the items of
/// both.
#[test]
fn offline_probes_evaluate_all_tables_of_the_suite() {
    let place = Workplace::new();
    let probes = "probes=[{suite=\"tinyworld\", tasks=[\"word_order\"], limit=5}, \
                  {suite=\"tinyworld\", tasks=[\"sizes\", \"residence\"], limit=7}]";
    place.train(&[probes]);
    let in_loop: Vec<Value> = place
        .log("run/probes.jsonl")
        .into_iter()
        .filter(|record| record["step"] == 12 && record["task"] != "validation/world")
        .collect();
    let offline = |extra: &[&str]| {
        let arguments = ["probe", "run", "--suite", "tinyworld", "--out", "scores"];
        place.run(&[&arguments[..], extra].concat()).success();
        place.log("scores/probes.jsonl")
    };
    let key = |records: &[Value]| -> Vec<Value> {
        records
            .iter()
            .map(|record| serde_json::json!([record["task"], record["n"], record["metrics"]]))
            .collect()
    };
    assert_eq!(key(&in_loop).len(), 3);
    assert_eq!(key(&offline(&[])), key(&in_loop));
    assert_eq!(
        key(&offline(&["--tasks", "residence,word_order"])),
        [key(&in_loop)[0].clone(), key(&in_loop)[2].clone()]
    );
    assert_eq!(offline(&["--limit", "3"]).iter().map(|record| record["n"].as_u64().unwrap()).sum::<u64>(), 9);
}
