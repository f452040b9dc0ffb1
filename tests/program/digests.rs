//! Comparison of two runs: `verify diff`.

use crate::support::Workplace;

const DIGEST: &str = "log.digest=true";

#[test]
fn equal_runs_have_equal_digests_and_resume_continues_the_chain() {
    let place = Workplace::new();
    place.train(&[DIGEST, "run.dir=left"]);
    place.train(&[DIGEST, "run.dir=right", "train.steps=12"]);
    place
        .run(&[
            "train",
            "tiny.toml",
            "--set",
            DIGEST,
            "--set",
            "run.dir=right",
            "--resume",
            "right/checkpoints/step-00000004",
        ])
        .success();
    assert_eq!(
        place.log("left/metrics.jsonl"),
        place.log("right/metrics.jsonl"),
        "the chain is in the lines"
    );
    assert_eq!(place.log("left/digests.jsonl"), place.log("right/digests.jsonl"));
    let lines = place.log("left/metrics.jsonl");
    assert!(lines.iter().all(|line| line["digest"].as_str().unwrap().len() == 64));
    let found = place.run(&["verify", "diff", "left", "right", "--json"]).success().json();
    assert_eq!((&found["same"], &found["digests_compared"]), (&true.into(), &12.into()), "{found}");
    let page = place.run(&["verify", "diff", "left", "right"]).success().stdout();
    assert!(page.contains("equal after each of 12 steps") && page.ends_with("equal\n"), "{page}");
}

#[test]
fn another_seed_differs_from_the_first_step_and_tensor() {
    let place = Workplace::new();
    place.train(&[DIGEST, "run.dir=left"]);
    place.train(&[DIGEST, "run.dir=right", "run.seed=8"]);
    let found = place.run(&["verify", "diff", "left", "right", "--json"]).fails_with(1).json();
    assert_eq!(found["parameters"]["step"], 1);
    assert_eq!(found["parameters"]["tensors"][0], "model.embed_tokens.weight");
    assert_eq!(found["metrics"]["step"], 1);
    assert!(found["metrics"]["fields"]["loss"].is_array(), "{found}");
}

/// The learning rate of a step affects the weights after it, and the loss of the next step.
#[test]
fn a_learning_rate_changed_on_resume_is_found_at_its_first_effect() {
    let place = Workplace::new();
    place.train(&[DIGEST, "run.dir=left"]);
    place.train(&[DIGEST, "run.dir=right"]);
    let changed = [
        "--resume",
        "right/checkpoints/step-00000008",
        "--set",
        "optim.lr=5e-3",
        "--allow-change",
        "optim.lr",
    ];
    let arguments =
        [&["train", "tiny.toml", "--set", DIGEST, "--set", "run.dir=right"][..], &changed].concat();
    place.run(&arguments).success();
    let found = place.run(&["verify", "diff", "left", "right", "--json"]).fails_with(1).json();
    assert_eq!(
        (&found["parameters"]["step"], &found["parameters"]["last_equal"]),
        (&9.into(), &8.into()),
        "{found}"
    );
    assert_eq!(
        (&found["metrics"]["step"], found["metrics"]["fields"].get("loss")),
        (&9.into(), None),
        "{found}"
    );
    assert!(found["config"].as_array().unwrap().iter().any(|value| value["key"] == "optim.lr"), "{found}");
    let page = place.run(&["verify", "diff", "left", "right"]).fails_with(1).stdout();
    assert!(
        page.contains("differ after step 9: 21 of 21 tensors, first model.embed_tokens.weight"),
        "{page}"
    );
}

#[test]
fn without_digests_the_losses_are_compared() {
    let place = Workplace::new();
    place.train(&["run.dir=left"]);
    place.train(&["run.dir=right", "optim.weight_decay=0.5"]);
    assert!(!place.path("left/digests.jsonl").exists());
    let found = place.run(&["verify", "diff", "left", "right", "--json"]).fails_with(1).json();
    assert!(found["parameters"].is_null() && found["metrics"]["step"].as_u64().unwrap() > 1, "{found}");
    let error = place.run(&["verify", "diff", "left", "nowhere"]).fails_with(1).stderr();
    assert!(error.contains("nowhere"), "{error}");
}
