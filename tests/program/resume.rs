//! A run may be stopped or killed at any moment, and goes on as if nothing had happened.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Workplace, files_below};

const LAST: &str = "checkpoints/step-00000012";

#[test]
fn verify_resume_proves_it_on_this_machine() {
    let place = Workplace::new();
    let proof = place.run(&["verify", "resume", "tiny.toml", "--steps", "7", "--stop-at", "3"]).success();
    assert!(proof.stdout().contains("equal the unbroken ones"), "{}", proof.stdout());
    assert!(!place.path("run").exists(), "nothing is left in the configured folder");
}

/// Two threads and products that are shared among them: the order in which threads finish must not matter.
#[test]
fn resume_is_exact_on_two_threads() {
    let place = Workplace::new();
    let wide = [
        "run.threads=2",
        "model.hidden_size=128",
        "model.intermediate_size=256",
        "data.seq_len=64",
        "train.micro_batch=4",
    ];
    let mut arguments = vec!["verify", "resume", "tiny.toml", "--steps", "6", "--stop-at", "3"];
    arguments.extend(wide.iter().flat_map(|value| ["--set", value]));
    place.run(&arguments).success();
}

/// Twenty kills at random moments: before the first checkpoint, within one, between two, while probing.
#[test]
fn a_run_killed_at_random_moments_equals_an_unbroken_one() {
    let place = Workplace::new();
    let steps = "train.steps=40";
    place.train(&["run.dir=unbroken", steps, "checkpoint.keep_last=2"]);

    let start =
        ["train", "tiny.toml", "--set", "run.dir=killed", "--set", steps, "--set", "checkpoint.keep_last=2"];
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut kills = 0;
    while kills < 20 {
        let mut child = place.command(&start).stdout(std::process::Stdio::null()).spawn().unwrap();
        // xorshift: the moments differ from kill to kill, and are the same in every run of the test.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        let end = Instant::now() + Duration::from_millis(30 + seed % 700);
        while Instant::now() < end && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        } else if place.path("killed/checkpoints/step-00000040").exists() {
            // It came to its end in spite of all: begin again, so that there are twenty kills.
            fs_err::remove_dir_all(place.path("killed")).unwrap();
        }
        child.wait().unwrap();
    }
    place.run(&start).success();

    assert_eq!(place.log("killed/metrics.jsonl"), place.log("unbroken/metrics.jsonl"));
    assert_eq!(place.log("killed/probes.jsonl"), place.log("unbroken/probes.jsonl"));
    let last = "checkpoints/step-00000040";
    assert_eq!(
        files_below(&place.path(&format!("killed/{last}"))),
        files_below(&place.path(&format!("unbroken/{last}")))
    );
    assert_eq!(files_below(&place.path("killed/items")), files_below(&place.path("unbroken/items")));
}

#[test]
fn a_signal_ends_the_run_with_a_checkpoint() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let place = Workplace::new();
        let steps =
            ["train", "tiny.toml", "--set", "train.steps=100000", "--set", "checkpoint.every_steps=100000"];
        let mut child = place.command(&steps).stderr(std::process::Stdio::null()).spawn().unwrap();
        wait_for(|| place.path("run/metrics.jsonl").exists() && place.log("run/metrics.jsonl").len() > 3);
        let kill = std::process::Command::new("kill")
            .args([&format!("-{signal}"), &child.id().to_string()])
            .status();
        assert!(kill.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), Some(code));

        let steps: Vec<u64> =
            place.log("run/metrics.jsonl").iter().map(|line| line["step"].as_u64().unwrap()).collect();
        let last = *steps.last().unwrap();
        assert!(place.path(&format!("run/checkpoints/step-{last:08}/manifest.json")).exists());
        let events = place.log("run/events.jsonl");
        assert!(events.iter().any(|event| event["event"] == "stopped"), "{events:?}");
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over() {
    let place = Workplace::new();
    place.train(&[]);
    let before = place.log("run/metrics.jsonl");
    let weights = place.path(&format!("run/{LAST}/model.safetensors"));
    let mut bytes = fs_err::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs_err::write(&weights, bytes).unwrap();

    let again = place.train(&[]);
    assert!(again.stderr().contains("step-00000012"), "{}", again.stderr());
    assert_eq!(place.log("run/metrics.jsonl"), before);
    let events = place.log("run/events.jsonl");
    let resumed: Vec<&Value> = events.iter().filter(|event| event["event"] == "resumed").collect();
    assert_eq!(resumed[0]["step"], 8);
}

/// What a start leaves that never came to a checkpoint belongs to no run.
#[test]
fn a_run_begun_anew_keeps_nothing_of_the_old_beginning() {
    let place = Workplace::new();
    place.train(&["run.dir=fresh", "run.seed=8"]);
    let first = ["train", "tiny.toml", "--set", "checkpoint.every_steps=1000"];
    let mut child = place.command(&first).stdout(std::process::Stdio::null()).spawn().unwrap();
    wait_for(|| place.path("run/metrics.jsonl").exists() && !place.log("run/metrics.jsonl").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    if place.path("run/checkpoints/step-00000012").exists() {
        // It was quicker than we were: then there is no beginning without an end to look at.
        return;
    }
    place.train(&["run.seed=8"]);
    assert_eq!(place.log("run/probes.jsonl"), place.log("fresh/probes.jsonl"));
    assert_eq!(place.log("run/metrics.jsonl"), place.log("fresh/metrics.jsonl"));
}

#[test]
fn a_finished_run_stays_as_it_is() {
    let place = Workplace::new();
    place.train(&[]);
    let checkpoints = files_below(&place.path("run/checkpoints"));
    let probes = place.log("run/probes.jsonl");
    place.train(&[]);
    assert_eq!(files_below(&place.path("run/checkpoints")), checkpoints);
    assert_eq!(place.log("run/probes.jsonl"), probes);
}

#[test]
fn a_run_can_be_taken_back_to_an_earlier_checkpoint() {
    let place = Workplace::new();
    place.train(&[]);
    let before = place.log("run/metrics.jsonl");
    place.run(&["train", "tiny.toml", "--resume", "run/checkpoints/step-00000004"]).success();
    assert_eq!(place.log("run/metrics.jsonl"), before);

    let error = place
        .run(&["train", "tiny.toml", "--resume", "run/checkpoints/step-00000005"])
        .fails_with(1)
        .stderr();
    assert!(error.contains("step-00000004"), "it names those that are there: {error}");
    let weights = place.path("run/checkpoints/step-00000008/model.safetensors");
    let mut bytes = fs_err::read(&weights).unwrap();
    bytes[5000] ^= 1;
    fs_err::write(&weights, bytes).unwrap();
    let error = place
        .run(&["train", "tiny.toml", "--resume", "run/checkpoints/step-00000008"])
        .fails_with(1)
        .stderr();
    assert!(error.contains("damaged"), "{error}");
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_mins(1);
    while !condition() {
        assert!(Instant::now() < end, "waited a minute in vain");
        std::thread::sleep(Duration::from_millis(20));
    }
}
