//! Probes don't affect training, and their results can be recomputed.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Workplace, files_below, wait_for};

#[test]
fn probes_do_not_change_training() {
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

/// In-context tasks and representation probes.
const INNER: &str =
    "probes=[{suite=\"in_context\",every_steps=6,limit=2},{suite=\"representation\",every_steps=6,limit=8}]";

#[test]
fn in_context_and_representation_probes_do_not_change_training() {
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

/// The first round after a resume is compared with the one before it, which another process stored.
#[test]
fn representations_of_a_resumed_run_equal_those_of_an_uninterrupted_one() {
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

/// A suite of two generation tasks: one whose filter doesn't terminate in reasonable time, and one without
/// filters.
#[test]
fn a_failed_task_is_an_event_and_the_run_continues() {
    let place = Workplace::new();
    let task = |name: &str, more: &str| {
        let text = format!(
            "name = \"{name}\"\ndomain = \"d\"\nkind = \"generation\"\ndata = \"q.jsonl\"\ncontext = \
            \"{{{{q}}}}\"\nanswers = \"a\"\n\
             [generation]\nmax_new_tokens = 60\n{more}"
        );
        place.write(&format!("{name}.toml"), &text);
    };
    let slow = r"[[generation.filters]]
name = 'slow'
steps = [{ function = 'regex', regex_pattern = '(?=((\w|\s|\W)+)+\d)(x)\1' }, { function = 'take_first' }]";
    task("slow", slow);
    task("sound", "");
    place
        .write("q.jsonl", "{\"q\":\"Anna is a\",\"a\":[\"baker\"]}\n{\"q\":\"Tom has\",\"a\":[\"bread\"]}\n");
    place.write("both.toml", "tasks = [\"slow.toml\", \"sound.toml\"]");
    place.train(&["probes=[{suite=\"both.toml\",every_steps=6,log_spaced=false}]"]);

    let failed: Vec<Value> = place
        .log("run/events.jsonl")
        .into_iter()
        .filter(|event| event["event"] == "evaluation_failed")
        .collect();
    let steps: Vec<u64> = failed.iter().map(|event| event["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 6, 12]);
    for event in failed {
        assert_eq!(event["task"], "slow");
        assert!(event["message"].as_str().unwrap().contains("pattern"), "{event}");
    }
    let records = place.log("run/probes.jsonl");
    let record_count = |task: &str| records.iter().filter(|record| record["task"] == task).count();
    assert_eq!((record_count("slow"), record_count("sound")), (0, 3));
    assert_eq!(place.log("run/metrics.jsonl").len(), 12);
}

/// Rounds at steps 1, 2 and 4, then at every sixth step, at the start and at the end.
#[test]
fn evaluation_steps_are_log_spaced_and_then_regular() {
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
fn offline_scores_equal_those_of_training_bit_for_bit() {
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

/// Fields that the reference of the run directory lists for a log, in the first column of its table.
fn documented_fields(log: &str) -> BTreeSet<String> {
    let page = include_str!("../../docs/reference/run-directory.md");
    let (_, section) = page.split_once(&format!("\n## {log}\n")).unwrap();
    let table = section.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

/// Asserts that each record of a run's log has the documented fields and no others. `optional` may be absent.
fn assert_documented(run: &Path, log: &str, optional: &str) {
    let lines = fs_err::read_to_string(run.join(log)).unwrap();
    let documented = documented_fields(log);
    assert!(documented.contains("step") && documented.len() > 5, "{log}: {documented:?}");
    for record in lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let fields: BTreeSet<String> = record.as_object().unwrap().keys().cloned().collect();
        let undocumented: Vec<_> = fields.difference(&documented).collect();
        assert!(undocumented.is_empty(), "{log}: {undocumented:?} are not documented: {record}");
        let missing: Vec<_> = documented.difference(&fields).filter(|field| *field != optional).collect();
        assert!(missing.is_empty(), "{log}: {missing:?} are documented, but absent: {record}");
    }
}

#[test]
fn every_record_has_the_documented_fields() {
    let place = Workplace::new();
    place.train(&[]);
    assert_documented(&place.path("run"), "metrics.jsonl", "digest");
    assert_documented(&place.path("run"), "probes.jsonl", "members");
    for record in place.log("run/probes.jsonl") {
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
fn tasks_and_number_of_items_can_be_selected() {
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

#[test]
fn domains_are_records_after_their_tasks() {
    let place = Workplace::new();
    place.train(&[]);
    let last: Vec<Value> =
        place.log("run/probes.jsonl").into_iter().filter(|record| record["step"] == 12).collect();
    let find = |task: &str| last.iter().find(|record| record["task"] == task).unwrap();
    let group = find("tinyworld/commonsense");
    assert_eq!(group["kind"], Value::Null);
    let members: Vec<&Value> =
        group["members"].as_array().unwrap().iter().map(|task| find(task.as_str().unwrap())).collect();
    assert!(members.len() > 1);
    let sum = |value: &dyn Fn(&Value) -> f64| members.iter().map(|member| value(member)).sum::<f64>();
    let items = sum(&|member| member["n"].as_f64().unwrap());
    assert_eq!(group["n"].as_f64(), Some(items));
    let right =
        sum(&|member| member["n"].as_f64().unwrap() * member["metrics"]["acc"]["value"].as_f64().unwrap());
    assert!((group["metrics"]["acc"]["value"].as_f64().unwrap() - right / items).abs() < 1e-12);

    let arguments = ["probe", "run/checkpoints/step-00000012", "--suite", "tinyworld", "--json"];
    let offline = place.run(&arguments).success().json();
    let name = "tinyworld/commonsense";
    assert_eq!(offline["group_subtasks"][name], group["members"]);
    assert_eq!(offline["groups"][name]["acc,none"], group["metrics"]["acc"]["value"]);
    assert_eq!(offline["groups"][name]["acc_stderr,none"], group["metrics"]["acc"]["stderr"]);
    assert_eq!(offline["groups"][name], offline["results"][name]);
}

/// The budget is so small that only the first and the last round take place. The last is never skipped.
#[test]
fn the_evaluation_budget_survives_a_resume() {
    let place = Workplace::new();
    let probes = "probes=[{suite=\"tinyworld\", every_steps=2, log_spaced=false, budget=0.0001}]";
    place.train(&[probes]);
    let events = |kind: &str| -> Vec<Value> {
        place.log("run/events.jsonl").into_iter().filter(|event| event["event"] == kind).collect()
    };
    let rounds = events("evaluation_finished");
    let steps: Vec<u64> = rounds.iter().map(|event| event["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 12]);
    assert_eq!(events("evaluation_skipped").len(), 5);
    for event in &rounds {
        assert_eq!((&event["limit"], &event["table"]), (&json!(30), &json!(0)), "{event}");
        assert!(event["budget_used"].as_f64().unwrap() > 0.0, "{event}");
    }
    let is_task = |record: &&Value| record.get("members").is_none() && record["kind"] == "multiple_choice";
    assert!(place.log("run/probes.jsonl").iter().filter(is_task).all(|record| record["n"] == 30));

    // A resumed run restores the time spent. Otherwise it would evaluate immediately.
    fs_err::remove_dir_all(place.path("run/checkpoints/step-00000012")).unwrap();
    place.train(&[probes]);
    let steps: Vec<u64> =
        events("evaluation_finished").iter().map(|event| event["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [0, 12]);
    assert_eq!(events("evaluation_skipped").len(), 5);
}

#[test]
fn a_round_whose_items_cannot_be_written_is_lost_and_training_continues() {
    let place = Workplace::new();
    let settings =
        ["train", "tiny.toml", "--set", "train.steps=100000", "--set", "checkpoint.every_steps=100000"];
    let mut run = place.start(&settings);
    let events = || place.log("run/events.jsonl");
    wait_for(|| place.path("run/items/step-00000006.parquet").is_file());
    fs_err::rename(place.path("run/items"), place.path("moved")).unwrap();
    fs_err::write(place.path("run/items"), "no directory").unwrap();
    wait_for(|| events().iter().any(|event| event["event"] == "evaluation_failed"));
    fs_err::remove_file(place.path("run/items")).unwrap();
    fs_err::rename(place.path("moved"), place.path("run/items")).unwrap();
    let failed = events().into_iter().find(|event| event["event"] == "evaluation_failed").unwrap();
    let (step, message) = (failed["step"].as_u64().unwrap(), failed["message"].as_str().unwrap());
    assert!(message.contains("run/items"), "{message}");
    assert_eq!(failed["task"], Value::Null);
    wait_for(|| place.log("run/probes.jsonl").iter().any(|record| record["step"].as_u64() > Some(step)));
    run.signal("TERM");
    run.wait().fails_with(143);
    let rounds = place.log("run/probes.jsonl");
    assert!(
        rounds.iter().all(|record| record["step"] != step),
        "a line without items can't be computed again"
    );
}
