//! File systems that are full, read-only, or taken away while a run trains: it goes on if it can, says what it could not write, and stops before it loses anything.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Finished, Mounted, Running, Workplace, files_below, wait_for};

/// `train tiny.toml` in `disk/run`, long enough to be interfered with.
fn start(place: &Workplace, overrides: &[&str]) -> Running {
    let mut arguments = vec!["train", "tiny.toml"];
    let own = [
        "run.dir=disk/run",
        "train.steps=400",
        "checkpoint.every_steps=20",
        "checkpoint.keep_last=2",
        "validation.every_steps=0",
    ];
    arguments.extend(own.iter().chain(overrides).flat_map(|value| ["--set", value]));
    place.start(&arguments)
}

fn steps(place: &Workplace) -> usize {
    let text = fs_err::read_to_string(place.path("disk/run/metrics.jsonl")).unwrap_or_default();
    text.lines().count()
}

fn events(place: &Workplace, kind: &str) -> Vec<Value> {
    let mut events = place.log("disk/run/events.jsonl");
    events.retain(|event| event["event"] == kind);
    events
}

/// The same run where nothing is in its way.
fn unbroken(place: &Workplace) {
    let own = [
        "train.steps=400",
        "checkpoint.every_steps=20",
        "checkpoint.keep_last=2",
        "validation.every_steps=0",
    ];
    place.train(&[&["run.dir=unbroken"], &own[..]].concat());
}

#[track_caller]
fn check_equal(place: &Workplace) {
    for log in ["metrics", "probes"] {
        let [left, right] = ["disk/run", "unbroken"].map(|run| place.log(&format!("{run}/{log}.jsonl")));
        assert_eq!(left, right, "{log}");
    }
    let [left, right] = ["disk/run", "unbroken"]
        .map(|run| files_below(&place.path(&format!("{run}/checkpoints/step-00000400"))));
    assert!(left == right, "the last checkpoints differ");
}

/// Full for a while: checkpoints fail, lines wait in memory, and all is made up for.
#[test]
fn a_disk_that_is_full_for_a_while_costs_nothing() {
    let place = Workplace::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=16m") else { return };
    let mut run = start(&place, &["checkpoint.max_failures=1000"]);
    wait_for(|| run.has_ended() || steps(&place) > 30);
    fill(&place);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!run.has_ended());
    let text = fs_err::read_to_string(place.path("disk/run/metrics.jsonl")).unwrap();
    assert!(text.ends_with('\n'), "no line is torn");
    fs_err::remove_file(place.path("disk/filling")).unwrap();
    run.wait().success();
    for kind in ["log_unwritable", "log_writable", "checkpoint_failed"] {
        assert!(!events(&place, kind).is_empty(), "{kind}");
    }
    unbroken(&place);
    check_equal(&place);
    drop(disk);
}

/// Takes all the room that is left, and what is freed by a checkpoint that didn't fit, until no more is logged.
fn fill(place: &Workplace) {
    let of = format!("of={}", place.path("disk/filling").display());
    loop {
        let dd = ["if=/dev/zero", &of, "bs=4k", "oflag=append", "conv=notrunc"];
        Command::new("dd").args(dd).output().unwrap();
        let before = steps(place);
        std::thread::sleep(Duration::from_millis(100));
        if steps(place) == before {
            return;
        }
    }
}

/// Another disk comes to lie under the checkpoints, and lets nobody write.
#[test]
fn checkpoints_on_a_read_only_disk_are_made_up_for() {
    let place = Workplace::new();
    fs_err::create_dir_all(place.path("disk")).unwrap();
    let mut run = start(&place, &["checkpoint.max_failures=1000"]);
    wait_for(|| run.has_ended() || steps(&place) > 5);
    let Some(disk) = Mounted::new(place.path("disk/run/checkpoints"), "size=64m,ro") else {
        return run.kill();
    };
    wait_for(|| run.has_ended() || !events(&place, "checkpoint_failed").is_empty());
    disk.remount("rw");
    run.wait().success();
    let failed = events(&place, "checkpoint_failed");
    assert!(failed[0]["reason"].as_str().unwrap().contains("Read-only"), "{failed:?}");
    assert!(failed[0]["bytes"].as_u64().unwrap() > 0 && failed[0]["in_a_row"] == 1, "{failed:?}");
    unbroken(&place);
    check_equal(&place);
    drop(disk);
}

/// A disk that stays full: the run stops, and goes on to the same end once there is room.
#[test]
fn a_disk_that_stays_full_stops_the_run_with_all_that_it_had() {
    let place = Workplace::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=16m") else { return };
    let mut run = start(&place, &["checkpoint.max_failures=2", "train.steps=100000"]);
    wait_for(|| run.has_ended() || steps(&place) > 50);
    fill(&place);
    let error = run.wait().fails_with(1).stderr();
    assert!(error.contains("checkpoint.max_failures") && error.contains("full"), "{error}");
    assert!(error.contains("disk/run/checkpoints/step-"), "{error}");
    fs_err::remove_file(place.path("disk/filling")).unwrap();
    finish(&place).success();
    unbroken(&place);
    check_equal(&place);
    drop(disk);
}

fn finish(place: &Workplace) -> Finished {
    let arguments = ["train", "tiny.toml", "--set", "run.dir=disk/run", "--set", "train.steps=400"];
    let rest = ["checkpoint.every_steps=20", "checkpoint.keep_last=2", "validation.every_steps=0"];
    let mut command = place.command(&arguments);
    command.args(rest.iter().flat_map(|value| ["--set", value])).args(["--allow-change", "train.steps"]);
    Finished::of(&mut command)
}

/// Checkpoints on another disk than the logs: what can't be logged goes along in them.
#[test]
fn a_checkpoint_carries_the_lines_that_the_disk_did_not_take() {
    let place = Workplace::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=4m") else { return };
    fs_err::create_dir_all(place.path("elsewhere")).unwrap();
    fs_err::create_dir_all(place.path("disk/run")).unwrap();
    let overrides = ["log.keep_unwritten=60", "log.tensorboard=false"];
    // The run's folder must be the run's before its checkpoints may lie elsewhere.
    let first = [
        "run.dir=disk/run",
        "train.steps=400",
        "checkpoint.every_steps=20",
        "checkpoint.keep_last=2",
        "validation.every_steps=0",
    ];
    let mut run = start(&place, &overrides);
    wait_for(|| run.has_ended() || steps(&place) > 2);
    run.kill();
    let _ = fs_err::remove_dir_all(place.path("disk/run/checkpoints"));
    fs_err::remove_file(place.path("disk/run/events.jsonl")).unwrap();
    fs_err::os::unix::fs::symlink(place.path("elsewhere"), place.path("disk/run/checkpoints")).unwrap();
    let mut run = start(&place, &overrides);
    wait_for(|| run.has_ended() || steps(&place) > 30);
    fill(&place);
    let error = run.wait().fails_with(1).stderr();
    assert!(error.contains("log.keep_unwritten (60)"), "{error}");
    fs_err::remove_file(place.path("disk/filling")).unwrap();
    place.train(&[&first[..], &overrides].concat());
    unbroken(&place);
    check_equal(&place);
    drop(disk);
}

#[test]
fn a_folder_that_is_taken_away_ends_the_run() {
    let place = Workplace::new();
    fs_err::create_dir_all(place.path("disk")).unwrap();
    let mut run = start(&place, &["train.steps=100000"]);
    wait_for(|| run.has_ended() || steps(&place) > 5);
    fs_err::rename(place.path("disk/run"), place.path("disk/moved")).unwrap();
    let error = run.wait().fails_with(1).stderr();
    assert!(error.contains("disk/run") && error.contains("is gone"), "{error}");
    // What it had is whole: moved back, it goes on.
    assert!(!place.path("disk/run").exists(), "nothing is made anew in its place");
    fs_err::rename(place.path("disk/moved"), place.path("disk/run")).unwrap();
    finish(&place).success();
    unbroken(&place);
    check_equal(&place);
}

/// Items can't be written: a round is lost, and said to be; the run isn't.
#[test]
fn items_that_cannot_be_written_are_an_event() {
    let place = Workplace::new();
    fs_err::create_dir_all(place.path("disk")).unwrap();
    let mut run = start(&place, &["probes[0].every_steps=10"]);
    wait_for(|| run.has_ended() || steps(&place) > 25);
    fs_err::remove_dir_all(place.path("disk/run/items")).unwrap();
    fs_err::write(place.path("disk/run/items"), "in the way").unwrap();
    run.wait().success();
    let lost = events(&place, "probe_failed");
    assert!(lost.iter().any(|event| event["task"].is_null()), "{lost:?}");
}
