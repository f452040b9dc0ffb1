//! A run may be stopped or killed at any moment, and resumes as if nothing had happened.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Workplace, files_below, wait_for};

const LAST: &str = "checkpoints/step-00000012";

#[test]
fn verify_resume_succeeds() {
    let place = Workplace::new();
    let proof = place.run(&["verify", "resume", "tiny.toml", "--steps", "7", "--stop-at", "3"]).success();
    assert!(proof.stdout().contains("equal those of the uninterrupted run"), "{}", proof.stdout());
    assert!(!place.path("run").exists(), "nothing is left in the configured directory");
}

/// Two threads share the matmuls: the order in which threads finish must not matter.
#[test]
fn resume_continues_bit_identically_on_two_threads() {
    let place = Workplace::new();
    let wide = [
        "run.threads=2",
        "model.hidden_size=128",
        "model.intermediate_size=256",
        "data.seq_len=64",
        "train.micro_batch_size=4",
    ];
    let mut arguments = vec!["verify", "resume", "tiny.toml", "--steps", "6", "--stop-at", "3"];
    arguments.extend(wide.iter().flat_map(|value| ["--set", value]));
    place.run(&arguments).success();
}

const KILLS: u32 = 20;

/// Twenty kills at random times: before the first checkpoint, within one, between two, during an evaluation.
/// Every other kill waits until the run has progressed beyond the last one, so that not all of them hit the
/// start.
#[test]
fn a_run_killed_at_random_times_equals_an_uninterrupted_one() {
    let place = Workplace::new();
    let settings = ["train.steps=100", "checkpoint.keep_last=2"];
    place.train(&[&["run.dir=unbroken"], &settings[..]].concat());
    let mut start = vec!["train", "tiny.toml", "--set", "run.dir=killed"];
    start.extend(settings.iter().flat_map(|value| ["--set", value]));

    let (mut kill_times, mut resumed) = (KillTimes(0x2545_f491_4f6c_dd1d), 0);
    let mut kills = 0;
    while kills < KILLS {
        let before = newest_checkpoint(&place, "killed");
        let mut run = place.start(&start);
        if kills % 2 == 1 {
            wait_for(|| run.has_ended() || newest_checkpoint(&place, "killed") > before);
        }
        let end = Instant::now() + kill_times.next();
        while Instant::now() < end && !run.has_ended() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if run.has_ended() {
            // The run has finished: compare it, and start another one, so that there are twenty kills.
            run.wait().success();
            resumed += check_equal(&place, "killed", "unbroken", 100);
            fs_err::remove_dir_all(place.path("killed")).unwrap();
        } else {
            run.kill();
            kills += 1;
        }
    }
    place.run(&start).success();
    resumed += check_equal(&place, "killed", "unbroken", 100);
    // One for each kill after a new checkpoint.
    assert!(resumed >= KILLS as usize / 2, "only {resumed} starts resumed from a checkpoint");
}

/// Pseudo-random delays (xorshift), the same in every run of the test.
struct KillTimes(u64);

impl KillTimes {
    fn next(&mut self) -> Duration {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Duration::from_millis(self.0 % 500)
    }
}

/// Returns the step of a run's newest checkpoint, or `None` before the first.
fn newest_checkpoint(place: &Workplace, run: &str) -> Option<u64> {
    let entries = fs_err::read_dir(place.path(&format!("{run}/checkpoints"))).ok()?;
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_prefix("step-")?.parse().ok()).max()
}

/// Compares all that two runs have left but events and times, and counts how often the first one went on from
/// a checkpoint.
#[track_caller]
fn check_equal(place: &Workplace, run: &str, other: &str, last: u64) -> usize {
    for log in ["metrics", "probes"] {
        let [left, right] = [run, other].map(|run| place.log(&format!("{run}/{log}.jsonl")));
        assert_eq!(left, right, "{log} of {run} and {other}");
    }
    for dir in [format!("checkpoints/step-{last:08}"), "items".to_owned()] {
        let [left, right] = [run, other].map(|run| files_below(&place.path(&format!("{run}/{dir}"))));
        assert!(left == right, "{dir} of {run} and {other} differ");
    }
    events(place, run, "resumed").len()
}

/// Returns the events of one kind.
fn events(place: &Workplace, run: &str, kind: &str) -> Vec<Value> {
    let mut events = place.log(&format!("{run}/events.jsonl"));
    events.retain(|event| event["event"] == kind);
    events
}

#[test]
fn a_signal_ends_the_run_with_a_checkpoint() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let place = Workplace::new();
        let steps =
            ["train", "tiny.toml", "--set", "train.steps=100000", "--set", "checkpoint.every_steps=100000"];
        let mut run = place.start(&steps);
        wait_for(|| logged_steps(&place) > 3);
        run.signal(signal);
        let finished = run.wait().fails_with(code);
        assert!(
            finished.stderr().contains("stopping after this step, with a checkpoint"),
            "{}",
            finished.stderr()
        );

        let steps: Vec<u64> =
            place.log("run/metrics.jsonl").iter().map(|line| line["step"].as_u64().unwrap()).collect();
        let last = *steps.last().unwrap();
        assert!(place.path(&format!("run/checkpoints/step-{last:08}/manifest.json")).exists());
        assert_eq!(events(&place, "run", "stopped").len(), 1);
    }
}

/// Returns the number of complete lines of `metrics.jsonl`. The last line may be incomplete.
fn logged_steps(place: &Workplace) -> usize {
    let text = fs_err::read_to_string(place.path("run/metrics.jsonl")).unwrap_or_default();
    text.matches('\n').count()
}

/// While another process writes the data cache, the run reports that it waits, stops on a signal, and doesn't
/// claim to have written a checkpoint.
#[test]
fn a_signal_before_training_ends_the_run_immediately() {
    let place = Workplace::new();
    place.train(&["train.steps=4"]);
    let before = files_below(&place.path("run"));
    let lock = fs_err::OpenOptions::new().write(true).open(place.path("cache/.lock")).unwrap();
    lock.file().lock().unwrap();
    let arguments = ["train", "tiny.toml", "--set", "train.steps=8", "--allow-change", "train.steps"];
    // The run handles signals before it locks its own directory.
    fs_err::remove_file(place.path("run/.lock")).unwrap();
    let mut run = place.start(&arguments);
    wait_for(|| place.path("run/.lock").exists());
    run.signal("INT");
    let said = run.wait().fails_with(130).stderr();
    assert!(said.contains("waiting for process ") && said.contains("which is writing cache"), "{said}");
    assert!(said.contains("stopped before training") && !said.contains("checkpoint"), "{said}");
    let command = "fineline train tiny.toml --set train.steps=8 --allow-change train.steps\n";
    assert!(said.ends_with(command), "the same command and program: {said}");
    assert!(said.contains(env!("CARGO_BIN_EXE_fineline")), "{said}");
    assert!(files_below(&place.path("run")) == before, "the run is unchanged");
}

/// A branch writes a checkpoint before its first step. It resumes with the command that started it, or
/// without `--resume`.
#[test]
fn a_branch_resumes_from_its_own_checkpoints() {
    let place = Workplace::new();
    place.train(&["run.dir=trunk", "train.steps=8"]);
    let settings = ["run.dir=branch", "optim.lr=0.005", "checkpoint.every_steps=100"];
    let mut plain = vec!["train", "tiny.toml"];
    plain.extend(settings.iter().flat_map(|value| ["--set", value]));
    let branch = [&plain[..], &["--resume", "trunk/checkpoints/step-00000004"]].concat();
    place.run(&branch).success();
    assert!(place.path("branch/checkpoints/step-00000004/manifest.json").is_file());
    assert_eq!(events(&place, "branch", "resumed").len(), 1);
    let steps: Vec<u64> =
        place.log("branch/metrics.jsonl").iter().map(|line| line["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, (5..=12).collect::<Vec<_>>());
    let finished = place.log("branch/metrics.jsonl");

    // The step-4 checkpoint alone, as after a kill; then not even that; and the trunk's is gone.
    let back_to_4 = || fs_err::remove_dir_all(place.path("branch/checkpoints/step-00000012")).unwrap();
    for command in [&branch, &plain] {
        back_to_4();
        place.run(command).success();
        assert_eq!(place.log("branch/metrics.jsonl"), finished);
        assert_eq!(events(&place, "branch", "resumed").last().unwrap()["step"], 4);
    }
    fs_err::remove_dir_all(place.path("trunk")).unwrap();
    back_to_4();
    place.run(&branch).success();
    assert_eq!(place.log("branch/metrics.jsonl"), finished);
}

/// A kill after the branch has written `run.json` and before its first checkpoint.
#[test]
fn a_branch_without_own_checkpoints_restarts_from_its_origin() {
    let place = Workplace::new();
    place.train(&["run.dir=trunk", "train.steps=8"]);
    let plain = ["train", "tiny.toml"];
    let branch = [&plain[..], &["--resume", "trunk/checkpoints/step-00000004"]].concat();
    place.run(&branch).success();
    let finished = place.log("run/metrics.jsonl");
    let as_killed = || {
        fs_err::remove_dir_all(place.path("run/checkpoints")).unwrap();
        fs_err::write(place.path("run/events.jsonl"), "").unwrap();
    };
    for command in [&branch[..], &plain] {
        as_killed();
        place.run(command).success();
        assert_eq!(place.log("run/metrics.jsonl"), finished, "{command:?}");
        assert_eq!(events(&place, "run", "resumed")[0]["step"], 4);
    }
    as_killed();
    fs_err::remove_dir_all(place.path("trunk")).unwrap();
    let error = place.run(&plain).fails_with(1).stderr();
    assert!(error.contains("trunk/checkpoints/step-00000004: this run branched off from here"), "{error}");
}

#[test]
fn a_damaged_checkpoint_is_skipped() {
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

/// Files of a start that wrote no checkpoint don't belong to the run.
#[test]
fn a_restarted_run_keeps_nothing_of_its_first_start() {
    let place = Workplace::new();
    place.train(&["run.dir=fresh", "run.seed=8"]);
    let first =
        ["train", "tiny.toml", "--set", "train.steps=100000", "--set", "checkpoint.every_steps=100000"];
    let run = place.start(&first);
    wait_for(|| logged_steps(&place) > 0);
    run.kill();
    place.train(&["run.seed=8"]);
    assert_eq!(place.log("run/probes.jsonl"), place.log("fresh/probes.jsonl"));
    assert_eq!(place.log("run/metrics.jsonl"), place.log("fresh/metrics.jsonl"));
}

#[test]
fn a_finished_run_is_not_changed() {
    let place = Workplace::new();
    place.train(&[]);
    let checkpoints = files_below(&place.path("run/checkpoints"));
    let probes = place.log("run/probes.jsonl");
    place.train(&[]);
    assert_eq!(files_below(&place.path("run/checkpoints")), checkpoints);
    assert_eq!(place.log("run/probes.jsonl"), probes);
}

#[test]
fn a_run_can_go_back_to_an_earlier_checkpoint() {
    let place = Workplace::new();
    place.train(&[]);
    let before = place.log("run/metrics.jsonl");
    place.run(&["train", "tiny.toml", "--resume", "run/checkpoints/step-00000004"]).success();
    assert_eq!(place.log("run/metrics.jsonl"), before);

    let error = place
        .run(&["train", "tiny.toml", "--resume", "run/checkpoints/step-00000005"])
        .fails_with(1)
        .stderr();
    assert!(error.contains("step-00000004"), "the error lists the existing checkpoints: {error}");
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
