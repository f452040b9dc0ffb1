//! Checkpoints are Hugging Face models: `transformers` loads them unchanged and computes the same.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Workplace, skip};

#[test]
fn transformers_loads_a_checkpoint_and_continues_as_we_do() {
    let Some(python) = std::env::var_os("FINELINE_REFERENCE_PYTHON") else {
        skip("FINELINE_REFERENCE_PYTHON names no Python with torch and transformers");
        return;
    };
    let place = Workplace::new();
    place.train(&["train.steps=30", "probes=[]"]);
    let checkpoint = "run/checkpoints/step-00000030";
    let arguments =
        ["generate", checkpoint, "--prompt", "The", "--greedy", "--max-new-tokens", "12", "--json"];
    let ours = place.run(&arguments).success().json();

    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check/transformers_load.py");
    let output = Command::new(python)
        .arg(script)
        .arg(place.path(checkpoint))
        .args(["--prompt", "The", "--max-new-tokens", "12"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs["generated_ids"], ours["ids"], "{theirs}");
}
