//! The plan's figure for peak memory is that of a run.

use crate::support::Workplace;

#[test]
fn planned_memory_is_within_a_fifth_of_the_measured() {
    let place = Workplace::new();
    let shapes: [&[&str]; 2] = [
        &[
            "model.hidden_size=128",
            "model.intermediate_size=344",
            "data.seq_len=128",
            "train.global_batch=16",
            "train.micro_batch=16",
            "model.vocab_size=1024",
        ],
        &[
            "model.hidden_size=256",
            "model.intermediate_size=688",
            "model.num_hidden_layers=4",
            "data.seq_len=256",
            "train.global_batch=4",
            "train.micro_batch=4",
            "model.vocab_size=4096",
        ],
    ];
    for shape in shapes {
        let overrides: Vec<&str> = shape.iter().flat_map(|value| ["--set", value]).collect();
        let ask =
            |command: &[&str]| place.run(&[command, &overrides[..], &["--json"]].concat()).success().json();
        let planned = ask(&["plan", "tiny.toml"])["memory"]["total"].as_f64().unwrap() / f64::from(1 << 20);
        let measured = ask(&["bench", "tiny.toml", "--steps", "3"])["peak_rss_mib"].as_f64().unwrap();
        let ratio = planned / measured;
        assert!(
            (0.8..1.2).contains(&ratio),
            "planned {planned:.0} MiB, measured {measured:.0} MiB: {ratio:.2}"
        );
    }
}
