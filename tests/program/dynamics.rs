//! Comparison of runs with published results.

use serde_json::{Value, json};

use crate::support::Workplace;

/// Writes the log of a sweep over three checkpoints of Amber.
fn sweep(place: &Workplace) {
    let estimate =
        |value: f64| json!({"value": value, "stderr": 0.005, "lo": value - 0.01, "hi": value + 0.01});
    let record = |chunk: u64, task: &str, metric: &str, shots: usize, value: f64| {
        json!({
            "step": 762 * (chunk + 1), "tokens": 762 * 2240 * 2048 * (chunk + 1), "task": task, "domain": "d",
            "kind": "multiple_choice", "n": 100, "shots": shots, "chance": 0.25, "primary_metric": metric,
            "metrics": {metric: estimate(value)}, "delta": null, "best": null, "min_detectable_effect": null,
            "phase": null, "truncated": 0, "non_finite": 0, "seconds": 1.0,
            "provenance": {"data": "", "template": "", "tokenizer": "", "scorer": ""}
        })
    };
    let lines = [
        record(0, "hellaswag_10shot", "acc_norm", 10, 0.28),
        record(100, "hellaswag_10shot", "acc_norm", 10, 0.65),
        record(355, "hellaswag_10shot", "acc_norm", 10, 0.735),
        record(100, "mmlu", "acc", 0, 0.25),
        record(100, "truthfulqa_mc2", "acc", 0, 0.35),
    ];
    place.write("swept/probes.jsonl", &lines.map(|line| line.to_string() + "\n").concat());
    place.write("swept/sweep.json", "{}");
}

#[test]
fn a_sweep_is_compared_with_published_results() {
    let place = Workplace::new();
    sweep(&place);
    let shown = place.run(&["dynamics", "swept", "--reference", "amber"]).success().stdout();
    insta::assert_snapshot!(shown, @r"
    swept compared with amber
    task              metric       step             tokens  measured  95 % interval      published  band
    hellaswag_10shot  acc_norm      762      3,495,690,240     0.280  0.270 – 0.290  0.276 ± 0.005  inside
    hellaswag_10shot  acc_norm   76,962    353,064,714,240     0.650  0.640 – 0.660  0.683 ± 0.005  below
    hellaswag_10shot  acc_norm  271,272  1,244,465,725,440     0.735  0.725 – 0.745  0.740 ± 0.005  inside
    hellaswag_10shot acc_norm: inside at 2 of 3, below from 353,064,714,240 tokens onward, inside from 1,244,465,725,440 tokens onward
    arc_challenge_25shot acc_norm: not compared, the run has no such task
    mmlu acc: not compared, published with 5 examples, evaluated with 0
    truthfulqa_mc2 prob_of_right: not compared, the run's task has no such metric
    train loss: not compared, there is no log of losses
    ");
    let shown = place.run(&["dynamics", "swept", "--reference", "amber", "--json"]).success().stdout();
    let object: Value = serde_json::from_str(&shown).unwrap();
    let series = &object["comparisons"][0]["series"];
    assert_eq!(series[0]["points"][1]["place"], "below");
    assert_eq!(series[0]["points"][1]["published"], json!({"value": 0.683, "uncertainty": 0.005}));
}

#[test]
fn a_csv_file_of_another_run_is_a_reference() {
    let place = Workplace::new();
    place.train(&["probes=[]", "train.steps=4"]);
    let losses: Vec<Value> = place.log("run/metrics.jsonl");
    let of_step = |step: usize| {
        (losses[step - 1]["tokens"].as_u64().unwrap(), losses[step - 1]["loss"].as_f64().unwrap())
    };
    let ((early, first), (late, last)) = (of_step(1), of_step(4));
    let csv = format!(
        "task,metric,shots,checkpoint,tokens,value,uncertainty,source\ntrain,loss,,,{early},{first},0.001,run\ntrain,loss,,,{late},{},0.001,run\n",
        last + 1.0
    );
    place.write("mine.csv", &csv);
    let shown = place.run(&["dynamics", "run", "--reference", "mine.csv"]).success().stdout();
    assert!(shown.contains("train loss: inside at 1 of 2, below from"), "{shown}");
}

#[test]
fn missing_references_and_runs_are_reported() {
    let place = Workplace::new();
    sweep(&place);
    for (arguments, expected) in [
        (
            ["dynamics", "swept", "--reference", "ambr"],
            "no reference `ambr` (did you mean `amber`?): it is neither a file nor one of amber, llama-7b",
        ),
        (
            ["dynamics", "elsewhere", "--reference", "amber"],
            "elsewhere: neither a run nor a sweep in this directory",
        ),
        (["dynamics", "swept", "--reference", "swept/sweep.json"], "reference swept/sweep.json: "),
    ] {
        let text = place.run(&arguments).fails_with(2).stderr();
        assert!(text.contains(expected), "{text}");
    }
}
