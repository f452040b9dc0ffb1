//! Whole runs on a GPU backend, compared with the same runs on the CPU. Built with `--features wgpu`. The GPU
//! may be Mesa's software one, so everything is tiny.
//!
//!     cargo test --release -p fineline -p fineline-kernels --features wgpu --test wgpu
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests fail by panicking and print what they skip"
)]

#[allow(dead_code, reason = "the other tests use more of it")]
mod support;

use serde_json::Value;
use support::{Finished, Workplace};

const STEPS: u64 = 20;

/// Relative tolerance of losses and gradient norms over twenty steps.
const TRAINING: f64 = 1e-5;

/// Tolerance of probe metrics, relative to the larger of the value and 1.
const PROBES: f64 = 1e-4;

/// A directory to work in, unless this machine has no device.
fn workplace() -> Option<Workplace> {
    let place = Workplace::new();
    let found = place.run(&["doctor", "--json"]).success().json();
    let device = found["devices"].as_array().unwrap().iter().find(|device| device["name"] == "wgpu").unwrap();
    if device["problem"].is_null() {
        assert_eq!(device["precisions"], serde_json::json!(["f32"]), "{device}");
        return Some(place);
    }
    fineline_testing::skip(&format!("a device for wgpu: {}", device["problem"]));
    None
}

impl Workplace {
    /// Trains on a device, in the directory of that name, with more overrides.
    fn train_on(&self, device: &str, overrides: &[&str]) -> Finished {
        let settings =
            [format!("run.device={device}"), format!("run.dir={device}"), format!("train.steps={STEPS}")];
        let settings: Vec<&str> =
            settings.iter().map(String::as_str).chain(overrides.iter().copied()).collect();
        self.train(&settings)
    }
}

/// Asserts that two runs logged the same metrics, up to a relative tolerance.
#[track_caller]
fn assert_same_metrics(actual: &[Value], expected: &[Value], tolerance: f64) {
    assert_eq!(actual.len(), expected.len());
    let mut furthest = 0.0_f64;
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!((&actual["step"], &actual["tokens"]), (&expected["step"], &expected["tokens"]));
        for key in ["loss", "grad_norm"] {
            let (actual, expected) = (actual[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
            furthest = furthest.max((actual / expected - 1.0).abs());
        }
    }
    assert!(furthest <= tolerance, "{furthest:e} apart");
}

/// Asserts that two probe logs have the same tasks and the same values, up to [`PROBES`].
#[track_caller]
fn assert_same_probes(actual: &[Value], expected: &[Value]) {
    assert!(!expected.is_empty());
    assert_eq!(actual.len(), expected.len());
    let mut furthest = 0.0_f64;
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!((&actual["step"], &actual["task"]), (&expected["step"], &expected["task"]));
        for (name, expected) in expected["metrics"].as_object().unwrap() {
            let [actual, expected] =
                [&actual["metrics"][name], expected].map(|metric| metric["value"].as_f64());
            let difference = (actual.unwrap() - expected.unwrap()).abs() / expected.unwrap().abs().max(1.0);
            furthest = furthest.max(difference);
        }
    }
    assert!(furthest <= PROBES, "{furthest:e} apart");
}

/// One run on each device, then evaluation and generation from a checkpoint.
#[test]
fn a_run_equals_that_on_the_cpu() {
    let Some(place) = workplace() else { return };
    for device in ["cpu", "wgpu"] {
        place.train_on(device, &[]);
    }
    let log = |device: &str, name: &str| place.log(&format!("{device}/{name}.jsonl"));
    assert_same_metrics(&log("wgpu", "metrics"), &log("cpu", "metrics"), TRAINING);
    assert_same_probes(&log("wgpu", "probes"), &log("cpu", "probes"));

    // One checkpoint, evaluated and used for generation on both.
    let checkpoint = format!("wgpu/checkpoints/step-{STEPS:08}");
    let [on_wgpu, on_cpu] = ["wgpu", "cpu"].map(|device| {
        let out = format!("probed-on-{device}");
        let arguments = ["probe", &checkpoint, "--suite", "tinyworld", "--device", device, "--out", &out];
        place.run(&arguments).success();
        place.log(&format!("{out}/probes.jsonl"))
    });
    assert_same_probes(&on_wgpu, &on_cpu);
    let [on_wgpu, on_cpu] = ["wgpu", "cpu"].map(|device| {
        let prompt = ["--prompt", "The", "--greedy", "--max-new-tokens", "12", "--json", "--device", device];
        place.run(&[&["generate", &checkpoint][..], &prompt].concat()).success().json()
    });
    assert_eq!(on_wgpu["ids"].as_array().unwrap().len(), 12);
    assert_eq!(on_wgpu["ids"], on_cpu["ids"]);
}

/// Two ranks of one process, as for a process with several devices. Here they share one device.
#[test]
fn ranks_of_a_process_train_like_the_cpu() {
    let Some(place) = workplace() else { return };
    place.train_on("cpu", &[]);
    let two = ["distributed.ranks_per_process=2", "train.micro_batch_size=1"];
    for mode in ["data_parallel", "zero1"] {
        let mode = format!("distributed.mode=\"{mode}\"");
        place.train_on("wgpu", &[&two[..], &[&mode]].concat());
        let log = |device: &str, name: &str| place.log(&format!("{device}/{name}.jsonl"));
        assert_same_metrics(&log("wgpu", "metrics"), &log("cpu", "metrics"), TRAINING);
        assert_same_probes(&log("wgpu", "probes"), &log("cpu", "probes"));
        fs_err::remove_dir_all(place.path("wgpu")).unwrap();
    }
}

/// A run started on one device is finished on the other.
#[test]
fn a_checkpoint_resumes_on_another_device() {
    let Some(place) = workplace() else { return };
    let plain = ["probes=[]", "validation.every_steps=0"];
    for device in ["cpu", "wgpu"] {
        place.train_on(device, &plain);
    }
    let unbroken = place.log("cpu/metrics.jsonl");
    for (first, second) in [("wgpu", "cpu"), ("cpu", "wgpu")] {
        for step in 9..=STEPS {
            let _ = fs_err::remove_dir_all(place.path(&format!("{first}/checkpoints/step-{step:08}")));
        }
        let settings =
            [format!("run.device={second}"), format!("run.dir={first}"), format!("train.steps={STEPS}")];
        let settings =
            settings.iter().map(String::as_str).chain(plain).flat_map(|setting| ["--set", setting]);
        let resume: Vec<&str> = ["train", "tiny.toml"].into_iter().chain(settings).collect();
        let refusal = place.run(&resume).fails_with(2).stderr();
        assert!(refusal.contains("run.device"), "{refusal}");
        place.run(&[&resume[..], &["--allow-change", "run.device"]].concat()).success();
        assert_same_metrics(&place.log(&format!("{first}/metrics.jsonl")), &unbroken, TRAINING);
    }
}

#[test]
fn a_resumed_run_equals_an_uninterrupted_one() {
    let Some(place) = workplace() else { return };
    let arguments =
        ["verify", "resume", "tiny.toml", "--steps", "7", "--stop-at", "3", "--set", "run.device=wgpu"];
    place.run(&arguments).success();
}

#[test]
fn unsupported_precisions_and_devices_are_rejected() {
    let Some(place) = workplace() else { return };
    let refused = |setting: &str| {
        let arguments = ["train", "tiny.toml", "--set", "run.device=wgpu", "--set", setting];
        place.run(&arguments).fails_with(2).stderr()
    };
    let message = refused("run.precision=bf16-mixed");
    assert!(message.contains("\"wgpu\" has no bf16-mixed") && message.contains("`f32`"), "{message}");
    assert!(refused("run.device=cuda").contains("--features cuda"));
    assert!(!place.path("run").exists());
}
