//! The peak memory that `plan` predicts is that of a run.

use std::time::Duration;

use crate::support::Workplace;

/// Peak resident set of a training run in MiB, as the kernel counts it.
fn peak_of_a_run(place: &Workplace, overrides: &[&str]) -> f64 {
    let mut run = place.start(&[&["train", "tiny.toml"], overrides].concat());
    let mut peak = 0.0;
    while !run.has_ended() {
        let status = fs_err::read_to_string(format!("/proc/{}/status", run.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0.0);
        peak = f64::max(peak, kib / 1024.0);
        std::thread::sleep(Duration::from_millis(2));
    }
    run.wait().success();
    peak
}

/// The peak depends on whether a checkpoint is written before the next backward pass reaches its maximum,
/// which depends on the disk. A run is between the two values of the plan, each within a fifth.
#[test]
#[cfg(target_os = "linux")]
fn planned_memory_is_within_a_fifth_of_the_measured() {
    let small = [
        "model.hidden_size=128",
        "model.intermediate_size=344",
        "data.seq_len=128",
        "train.global_batch_size=16",
        "train.micro_batch_size=16",
    ];
    let wide = [
        "model.hidden_size=256",
        "model.intermediate_size=688",
        "model.num_hidden_layers=4",
        "data.seq_len=256",
        "model.vocab_size=4096",
    ];
    for shape in [&small[..], &wide[..]] {
        let place = Workplace::new();
        let run = ["train.steps=8", "checkpoint.every_steps=4", "probes=[]", "validation.every_steps=0"];
        let overrides: Vec<&str> = shape.iter().chain(&run).flat_map(|value| ["--set", value]).collect();
        // The data are prepared already, as in all runs but the first.
        place.run(&[&["data", "stats", "tiny.toml"], &overrides[..]].concat()).success();
        let plan = place.run(&[&["plan", "tiny.toml", "--json"], &overrides[..]].concat()).success().json();
        let [low, high] = ["total_on_fast_disk", "total"]
            .map(|height| plan["memory"][height].as_f64().unwrap() / f64::from(1 << 20));
        let measured = peak_of_a_run(&place, &overrides);
        assert!(
            low <= high && low / measured < 1.2 && high / measured > 0.8,
            "planned {low:.0} to {high:.0} MiB, measured {measured:.0} MiB"
        );
    }
}
