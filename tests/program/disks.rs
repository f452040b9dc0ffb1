//! File systems that are full, read-only, or taken away while a run trains: it continues if it can, says what
//! it could not write, and stops before it loses anything.
#![cfg(target_os = "linux")]

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Mounted, Running, Workplace, wait_for};

/// A run that is long enough to be disturbed. It evaluates probes only at its start and end, because a round
/// whose items can't be written is lost.
const SETTINGS: [&str; 10] = [
    "train.steps=150",
    "train.global_batch_size=8",
    "train.micro_batch_size=4",
    "data.seq_len=128",
    "checkpoint.every_steps=10",
    "checkpoint.keep_last=2",
    "validation.every_steps=0",
    "probes[0].every_steps=100000",
    "probes[0].log_spaced=false",
    "log.max_buffered_lines=1000",
];
const LAST: &str = "checkpoints/step-00000150";

fn arguments<'a>(overrides: &[&'a str]) -> Vec<&'a str> {
    let settings = SETTINGS.iter().copied().chain(overrides.iter().copied());
    ["train", "tiny.toml"].into_iter().chain(settings.flat_map(|value| ["--set", value])).collect()
}

/// Starts the run in `disk/run`.
fn start(place: &Workplace, overrides: &[&str]) -> Running {
    place.start(&arguments(&[&["run.dir=disk/run"], overrides].concat()))
}

/// Resumes the run and trains it to its end.
fn finish(place: &Workplace) {
    place.run(&arguments(&["run.dir=disk/run"])).success();
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

/// Compares the run with an undisturbed one.
#[track_caller]
fn check_equals_unbroken(place: &Workplace) {
    place.run(&arguments(&["run.dir=unbroken"])).success();
    for log in ["metrics", "probes"] {
        let [left, right] = ["disk/run", "unbroken"].map(|run| place.log(&format!("{run}/{log}.jsonl")));
        assert!(left == right, "{log} differ");
    }
    for file in ["model.safetensors", "optimizer.safetensors", "state.json"] {
        let [left, right] = ["disk/run", "unbroken"]
            .map(|run| fs_err::read(place.path(&format!("{run}/{LAST}/{file}"))).unwrap());
        assert!(left == right, "{file} differ");
    }
}

/// While the disk is full, checkpoints fail and log lines are buffered. Both are written afterwards.
#[test]
fn a_temporarily_full_disk_loses_nothing() {
    let place = Workplace::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=16m") else { return };
    let mut run = start(&place, &["checkpoint.max_failures=1000"]);
    wait_for(|| run.has_ended() || steps(&place) > 30);
    fill(&place);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!run.has_ended());
    let text = fs_err::read_to_string(place.path("disk/run/metrics.jsonl")).unwrap();
    assert!(text.ends_with('\n'), "the last line is complete");
    fs_err::remove_file(place.path("disk/filling")).unwrap();
    run.wait().success();
    for kind in ["log_write_failed", "log_write_recovered", "checkpoint_failed"] {
        assert!(!events(&place, kind).is_empty(), "{kind}");
    }
    check_equals_unbroken(&place);
    drop(disk);
}

/// Fills the disk, including the space freed by a checkpoint that didn't fit, until no more steps are
/// logged.
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

/// A read-only file system is mounted over the checkpoint directory.
#[test]
fn failed_checkpoints_on_a_read_only_disk_are_retried() {
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
    assert!(failed[0]["bytes"].as_u64().unwrap() > 0 && failed[0]["consecutive"] == 1, "{failed:?}");
    check_equals_unbroken(&place);
    drop(disk);
}

/// A disk that stays full: the run stops, and continues to the same end once there is space.
#[test]
fn a_disk_that_stays_full_stops_the_run_without_loss() {
    let place = Workplace::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=16m") else { return };
    let mut run = start(&place, &["checkpoint.max_failures=2"]);
    wait_for(|| run.has_ended() || steps(&place) > 50);
    fill(&place);
    let error = run.wait().fails_with(1).stderr();
    assert!(error.contains("checkpoint.max_failures") && error.contains("full"), "{error}");
    assert!(error.contains("disk/run/checkpoints/step-"), "{error}");
    fs_err::remove_file(place.path("disk/filling")).unwrap();
    finish(&place);
    check_equals_unbroken(&place);
    drop(disk);
}

/// Checkpoints are on another disk than the logs. They carry the log lines that can't be written.
#[test]
fn checkpoints_carry_log_lines_that_could_not_be_written() {
    let place = Workplace::new();
    let Some(disk) = Mounted::new(place.path("disk"), "size=4m") else { return };
    fs_err::create_dir_all(place.path("elsewhere")).unwrap();
    fs_err::create_dir_all(place.path("disk/run")).unwrap();
    let overrides = ["log.max_buffered_lines=20", "log.tensorboard=false"];
    // The run must have created the directory before its checkpoints are moved elsewhere.
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
    assert!(error.contains("log.max_buffered_lines (20)"), "{error}");
    fs_err::remove_file(place.path("disk/filling")).unwrap();
    finish(&place);
    check_equals_unbroken(&place);
    drop(disk);
}

#[test]
fn a_removed_run_directory_stops_the_run() {
    let place = Workplace::new();
    fs_err::create_dir_all(place.path("disk")).unwrap();
    let mut run = start(&place, &[]);
    wait_for(|| run.has_ended() || steps(&place) > 5);
    fs_err::rename(place.path("disk/run"), place.path("disk/moved")).unwrap();
    let error = run.wait().fails_with(1).stderr();
    assert!(error.contains("disk/run") && error.contains("was removed or unmounted"), "{error}");
    // Nothing was lost: moved back, the run resumes.
    assert!(!place.path("disk/run").exists(), "the directory is not created again");
    fs_err::rename(place.path("disk/moved"), place.path("disk/run")).unwrap();
    finish(&place);
    check_equals_unbroken(&place);
}

/// If items can't be written, the round is lost and reported, and the run continues.
#[test]
fn items_that_cannot_be_written_are_an_event() {
    let place = Workplace::new();
    fs_err::create_dir_all(place.path("disk")).unwrap();
    let mut run = start(&place, &["probes[0].every_steps=10"]);
    wait_for(|| run.has_ended() || steps(&place) > 25);
    fs_err::remove_dir_all(place.path("disk/run/items")).unwrap();
    fs_err::write(place.path("disk/run/items"), "in the way").unwrap();
    run.wait().success();
    let lost = events(&place, "evaluation_failed");
    assert!(lost.iter().any(|event| event["task"].is_null()), "{lost:?}");
}
