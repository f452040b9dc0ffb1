//! Several processes started by `mpirun` train as one. Built with `--features mpi`, and skipped without
//! `mpirun`.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fineline_testing::skip;
use serde_json::Value;

use crate::support::{Finished, Running, SHARED, Workplace, files_below, wait_for};

fn mpirun_is_missing() -> bool {
    let missing = Command::new("mpirun").arg("--version").stdout(Stdio::null()).status().is_err();
    if missing {
        skip("mpirun (scripts/setup-mpi.sh)");
    }
    missing
}

/// `mpirun -np RANKS fineline train tiny.toml`
fn command(place: &Workplace, ranks: usize, overrides: &[&str]) -> Command {
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", &ranks.to_string()]);
    command.arg(env!("CARGO_BIN_EXE_fineline")).args(["train", "tiny.toml"]);
    command.args(SHARED.iter().chain(overrides).flat_map(|value| ["--set", value]));
    command.current_dir(place.path("")).env_remove("FINELINE_LOG").stdin(Stdio::null());
    command
}

fn train(place: &Workplace, ranks: usize, overrides: &[&str]) -> Finished {
    Finished::of(&mut command(place, ranks, overrides))
}

fn alone(place: &Workplace, overrides: &[&str]) {
    place.train(&[&SHARED[..], overrides].concat());
}

/// Returns the logged values of each step, without timings.
fn numbers(place: &Workplace, dir: &str) -> Vec<[Value; 3]> {
    let log = place.log(&format!("{dir}/metrics.jsonl"));
    log.iter().map(|line| ["step", "loss", "grad_norm"].map(|key| line[key].clone())).collect()
}

/// Returns the files of a checkpoint that rank 0 wrote alone, except for its configuration.
fn whole_checkpoint(place: &Workplace, dir: &str) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files = files_below(&place.path(&format!("{dir}/checkpoints/step-00000012")));
    files.retain(|(path, _)| {
        ["model.safetensors", "optimizer.safetensors"].iter().any(|name| path.ends_with(name))
    });
    assert_eq!(files.len(), 2);
    files
}

#[test]
fn losses_weights_and_probes_equal_those_of_one_process_bit_for_bit() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    alone(&place, &["run.dir=one"]);
    for ranks in [2, 4] {
        let dir = format!("ranks{ranks}");
        train(&place, ranks, &[&format!("run.dir={dir}")]).success();
        assert_eq!(numbers(&place, &dir), numbers(&place, "one"));
        assert!(whole_checkpoint(&place, &dir) == whole_checkpoint(&place, "one"));
        assert!(!place.scores("one").is_empty() && place.scores(&dir) == place.scores("one"));
        assert!(!place.path(&format!("{dir}/.ranks")).exists(), "heartbeat files are removed");
    }
}

/// Two processes with two ranks each equal one rank bit for bit, or up to rounding if the devices of a
/// process reduce first.
#[test]
fn processes_may_have_several_ranks_each() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    alone(&place, &["run.dir=one"]);
    let two_each = "distributed.ranks_per_process=2";
    train(&place, 2, &["run.dir=fixed", two_each]).success();
    assert_eq!(numbers(&place, "fixed"), numbers(&place, "one"));
    assert!(whole_checkpoint(&place, "fixed") == whole_checkpoint(&place, "one"));

    let zero1 = "distributed.mode=\"zero1\"";
    train(&place, 2, &["run.dir=free", two_each, zero1, "distributed.deterministic=false"]).success();
    place.assert_close("free", "one");
    assert!(place.path("free/checkpoints/step-00000012/optimizer-00004-of-00004.safetensors").is_file());
}

#[test]
fn without_deterministic_reduction_losses_differ_only_by_rounding() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    alone(&place, &["run.dir=one", "distributed.deterministic=false"]);
    train(&place, 3, &["run.dir=three", "distributed.deterministic=false"]).success();
    place.assert_close("three", "one");
}

/// Four ranks with a quarter of the optimizer state each, then one, then two equal an uninterrupted run.
#[test]
fn a_run_resumes_on_another_number_of_ranks() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    alone(&place, &["run.dir=unbroken"]);
    let zero1 = "distributed.mode=\"zero1\"";
    train(&place, 4, &["run.dir=moved", "train.steps=12", zero1, "checkpoint.every_steps=4"]).success();
    let written = place.path("moved/checkpoints/step-00000012");
    assert!(written.join("optimizer-00004-of-00004.safetensors").is_file());
    // Resumes from step 4, as after a crash, on one rank and on two.
    for (dir, ranks) in [("moved1", 1), ("moved2", 2)] {
        let copied =
            Command::new("cp").args(["-r", "moved", dir]).current_dir(place.path("")).status().unwrap();
        assert!(copied.success());
        for later in ["step-00000012", "step-00000008"] {
            let _ = fs_err::remove_dir_all(place.path(&format!("{dir}/checkpoints/{later}")));
        }
        train(&place, ranks, &[&format!("run.dir={dir}")]).success();
        assert_eq!(numbers(&place, dir), numbers(&place, "unbroken"));
        assert!(whole_checkpoint(&place, dir) == whole_checkpoint(&place, "unbroken"));
    }
}

/// Starts a long run on two ranks, waits for its first checkpoint, and returns it with the process id of
/// rank 1.
fn long_run(place: &Workplace, overrides: &[&str]) -> (Running, String) {
    let settings = ["run.dir=long", "train.steps=100000", "checkpoint.every_steps=20", "probes=[]"];
    let run = Running::of(&mut command(place, 2, &[&settings, overrides].concat()));
    wait_for(|| {
        place.path("long/checkpoints/latest").exists() && place.path("long/.ranks/rank-00001.json").exists()
    });
    let sign: Value =
        serde_json::from_slice(&fs_err::read(place.path("long/.ranks/rank-00001.json")).unwrap()).unwrap();
    (run, sign["pid"].to_string())
}

fn signal(name: &str, process: &str) {
    assert!(Command::new("kill").args([name, process]).status().unwrap().success());
}

#[test]
fn a_hung_rank_is_reported_and_the_job_ends() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    let (run, second) = long_run(&place, &["distributed.timeout_s=12"]);
    signal("-STOP", &second);
    let stopped = Instant::now();
    let ended = run.wait().fails_with(1);
    assert!(stopped.elapsed() < Duration::from_secs(30), "{:?}", stopped.elapsed());
    let message = ended.stderr();
    assert!(message.contains(&format!("rank 1 (process {second} on")), "{message}");
    assert!(message.contains("written no heartbeat"), "{message}");
    // The next start resumes.
    fs_err::remove_dir_all(place.path("long/.ranks")).unwrap();
    let (run, second) = long_run(&place, &["distributed.timeout_s=12"]);
    wait_for(|| place.log("long/events.jsonl").iter().any(|event| event["event"] == "resumed"));
    signal("-TERM", &second);
    run.wait().fails_with(143);
}

#[test]
fn a_killed_rank_ends_the_job_and_the_next_start_resumes() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    let (run, second) = long_run(&place, &[]);
    signal("-KILL", &second);
    let message = run.wait().stderr();
    assert!(message.contains("rank 1") && message.contains("signal 9"), "{message}");
}

/// SIGTERM to one rank is enough: all ranks write a checkpoint of the same step.
#[test]
fn a_signal_to_any_rank_stops_all_ranks_after_a_checkpoint() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    let (run, second) = long_run(&place, &["distributed.mode=\"zero1\""]);
    signal("-TERM", &second);
    let ended = run.wait().fails_with(143);
    assert!(ended.stderr().contains("stopped after step"), "{}", ended.stderr());
    let events = place.log("long/events.jsonl");
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["signal"]), (&Value::from("stopped"), &Value::from(15)));
    let checkpoint = format!("long/checkpoints/step-{:08}", last["step"].as_u64().unwrap());
    assert!(place.path(&checkpoint).join("manifest.json").is_file());
}

#[test]
fn errors_are_reported_once() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    let ended = train(&place, 3, &["train.global_batch_size=2"]).fails_with(2);
    let message = ended.stderr();
    assert!(message.contains("makes 2 micro-batches"), "{message}");
    let ended = train(&place, 2, &["train.stepz=2"]).fails_with(2);
    assert_eq!(ended.stderr().matches("stepz").count(), 1, "{}", ended.stderr());
}

#[test]
fn doctor_reports_every_rank() {
    if mpirun_is_missing() {
        return;
    }
    let place = Workplace::new();
    let mut command = Command::new("mpirun");
    command.args(["--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-np", "2"]);
    command.arg(env!("CARGO_BIN_EXE_fineline")).args(["doctor", "--json"]).current_dir(place.path(""));
    let found = Finished::of(&mut command).success().json();
    assert!(found["mpi"].as_str().unwrap().contains("MPI"), "{found}");
    let ranks = found["ranks"].as_array().unwrap();
    assert_eq!(ranks.iter().map(|rank| rank["rank"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1]);
    assert!(ranks.iter().all(|rank| rank["shares_directory"] == true), "{found}");
}
