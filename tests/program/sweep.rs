//! Evaluation of a suite on a series of checkpoints, with a probe log like that of a run.

use serde_json::Value;

use crate::support::{Workplace, files_below};

const SWEEP: [&str; 6] = ["sweep", "run", "--suite", "tinyworld", "--out", "log"];

/// Returns the lines of the steps that both the run and the sweep evaluated, without fields that depend on
/// earlier rounds.
fn comparable(lines: Vec<Value>) -> Vec<Value> {
    let is_of_both = |line: &Value| [4, 12].contains(&line["step"].as_u64().unwrap());
    let mut lines: Vec<Value> = lines
        .into_iter()
        .filter(|line| is_of_both(line) && !line["task"].as_str().unwrap().starts_with("validation/"))
        .collect();
    for line in &mut lines {
        for key in ["delta", "phase", "best", "min_detectable_effect"] {
            line.as_object_mut().unwrap().remove(key);
        }
    }
    lines
}

/// Returns the files of a sweep, without timings.
fn left(place: &Workplace, dir: &str) -> Vec<(String, Vec<u8>)> {
    let files = files_below(&place.path(dir)).into_iter();
    let files = files.map(|(name, content)| (name.to_string_lossy().into_owned(), content));
    let is_kept = |name: &str| name.starts_with("items") || name == "sweep.json";
    let mut files: Vec<(String, Vec<u8>)> = files.filter(|(name, _)| is_kept(name)).collect();
    files.sort();
    for log in ["probes.jsonl", "events.jsonl"] {
        let lines = place.log(&format!("{dir}/{log}"));
        files.push((log.to_owned(), serde_json::to_vec(&lines).unwrap()));
    }
    files
}

#[test]
fn a_sweep_over_the_checkpoints_of_a_run_equals_its_probes() {
    let place = Workplace::new();
    place.train(&[]);
    place.run(&SWEEP).success();
    let (in_loop, swept) =
        (comparable(place.log("run/probes.jsonl")), comparable(place.log("log/probes.jsonl")));
    assert!(swept.len() >= 20);
    assert_eq!(in_loop, swept);
    let first: Value =
        serde_json::from_slice(&fs_err::read(place.path("log/results/step-00000004.json")).unwrap()).unwrap();
    assert!(first["results"].as_object().unwrap().len() >= 10);
    let record: Value = serde_json::from_slice(&fs_err::read(place.path("log/sweep.json")).unwrap()).unwrap();
    assert_eq!(record["done"].as_array().unwrap().len(), 3);
    assert_eq!(
        record["provenance"]["word_order"],
        swept.iter().find(|line| line["task"] == "word_order").unwrap()["provenance"]
    );
    let shown = place.run(&["watch", "log", "--once"]).success().stdout();
    assert!(shown.contains("probes at step 12"), "{shown}");
}

#[test]
fn an_interrupted_sweep_resumes_to_the_same_files() {
    let place = Workplace::new();
    place.train(&["probes=[]"]);
    let limited = |arguments: &[&str]| {
        let mut all = vec!["sweep", "run", "--suite", "tinyworld", "--limit", "3"];
        all.extend(arguments);
        place.run(&all)
    };
    limited(&["--out", "whole"]).success();
    limited(&["--out", "cut", "--revisions", "step-{00000004..00000008..4}"]).success();
    // As after a kill: some lines of the last checkpoint, which isn't recorded as done.
    let mut record: Value =
        serde_json::from_slice(&fs_err::read(place.path("cut/sweep.json")).unwrap()).unwrap();
    record["done"].as_array_mut().unwrap().pop();
    fs_err::write(place.path("cut/sweep.json"), record.to_string()).unwrap();
    let log = fs_err::read_to_string(place.path("cut/probes.jsonl")).unwrap();
    fs_err::write(place.path("cut/probes.jsonl"), &log[..log.len() - 100]).unwrap();
    limited(&["--out", "cut"]).success();
    assert_eq!(left(&place, "whole"), left(&place, "cut"));
    // Nothing remains to be done, and nothing changes.
    limited(&["--out", "cut"]).success();
    assert_eq!(left(&place, "whole"), left(&place, "cut"));
}

#[test]
fn a_signal_ends_a_sweep_after_a_checkpoint() {
    let place = Workplace::new();
    place.train(&["probes=[]"]);
    let mut sweep = place.start(&SWEEP);
    let record = place.path("log/sweep.json");
    let done = || -> usize {
        let text = fs_err::read(&record).unwrap_or_default();
        let record: Value = serde_json::from_slice(&text).unwrap_or_default();
        record["done"].as_array().map_or(0, Vec::len)
    };
    while done() == 0 && !sweep.has_ended() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    if !sweep.has_ended() {
        sweep.signal("INT");
    }
    let ended = sweep.wait();
    let records = place.log("log/probes.jsonl");
    let steps: std::collections::BTreeSet<u64> =
        records.iter().map(|record| record["step"].as_u64().unwrap()).collect();
    // On a fast machine, the sweep may have finished before the signal.
    if done() < 3 {
        ended.fails_with(130);
    }
    assert_eq!(steps.len(), done());
    place.run(&SWEEP).success();
    assert_eq!(done(), 3);
}

#[test]
fn invalid_arguments_and_checkpoints_are_reported() {
    let place = Workplace::new();
    place.train(&["probes=[]"]);
    let refused = |arguments: &[&str], code: i32, expected: &str| {
        let text = place.run(arguments).fails_with(code).stderr();
        assert!(text.contains(expected), "{text}");
    };
    let with = |arguments: &[&'static str]| {
        let mut all = vec!["sweep", "run", "--suite", "tinyworld", "--limit", "2", "--out", "log"];
        all.extend(arguments);
        all
    };
    refused(&["sweep", "nowhere", "--suite", "tinyworld", "--out", "log"], 2, "nowhere: no checkpoints here");
    refused(&["sweep", "run", "--suite", "tinywrold", "--out", "x"], 2, "did you mean `tinyworld`");
    refused(&["sweep", "run", "--suite", "tinyworld", "--out", "run"], 2, "this is the directory of a run");
    refused(&with(&["--revisions", "step-00000005"]), 2, "no checkpoint `step-00000005`");
    fs_err::create_dir_all(place.path("named")).unwrap();
    for (from, to) in [("step-00000004", "named/main"), ("step-00000008", "named/ckpt_001")] {
        fs_err::rename(place.path(&format!("run/checkpoints/{from}")), place.path(to)).unwrap();
    }
    let state = "named/main/state.json";
    fs_err::remove_file(place.path(state)).unwrap();
    fs_err::remove_file(place.path("named/main/manifest.json")).unwrap();
    let named = ["sweep", "named", "--suite", "tinyworld", "--limit", "2", "--out", "names"];
    refused(&named, 2, "main: the steps and tokens of this checkpoint are unknown");
    place.write("axis.csv", "revision,step,tokens\nmain,2,1K\n");
    let mut with_axis = named.to_vec();
    with_axis.extend(["--axis", "axis.csv"]);
    place.write("named/ckpt_001/tokenizer.json", "{");
    refused(&with_axis, 1, "ckpt_001: ");
    with_axis.push("--keep-going");
    place.run(&with_axis).success();
    let events = place.log("names/events.jsonl");
    assert_eq!(events[0]["event"], "checkpoint_damaged");
    assert!(place.log("names/probes.jsonl").iter().all(|line| line["tokens"] == 1000));
}
