//! Checkpoints are Hugging Face models: `transformers` loads them unchanged and computes the same.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use fineline_kernels::AttentionMask;
use fineline_model::{Positions, TensorHeader, load, write_safetensors};
use fineline_testing::reference_python;
use serde_json::Value;

use crate::support::Workplace;

#[test]
fn transformers_loads_a_checkpoint_and_computes_the_same() {
    let Some(python) = reference_python(&[]) else { return };
    let place = Workplace::new();
    place.train(&["train.steps=30", "probes=[]"]);
    let checkpoint = "run/checkpoints/step-00000030";
    let arguments =
        ["generate", checkpoint, "--prompt", "The", "--greedy", "--max-new-tokens", "12", "--json"];
    let ours = place.run(&arguments).success().json();
    let logits = place.path("logits.safetensors");
    let compared = write_logits(&place.path(checkpoint), &logits);

    let theirs = report(python.as_os_str(), &place.path(checkpoint), &logits);
    assert_eq!(theirs["generated_ids"], ours["ids"], "{theirs}");
    assert_eq!(theirs["logits_compared"], compared, "{theirs}");
    let difference = theirs["max_logit_difference"].as_f64().unwrap();
    assert!(difference < 1e-4, "{difference}");
}

/// Runs a checkpoint in `transformers`, and compares its logits with ours.
fn report(python: &OsStr, checkpoint: &Path, logits: &Path) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/check/transformers_load.py");
    let output = Command::new(python)
        .arg(script)
        .arg(checkpoint)
        .args(["--prompt", "The", "--max-new-tokens", "12", "--compare-logits"])
        .arg(logits)
        .output()
        .unwrap_or_else(|error| panic!("FINELINE_REFERENCE_PYTHON, {}: {error}", python.display()));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes `input_ids` `[3, 64]` and the checkpoint's `logits` `[3, 64, vocab]` for them to `file`. Returns
/// the number of logits.
fn write_logits(checkpoint: &Path, file: &Path) -> usize {
    let device = Device::flex();
    let model = load(checkpoint, &device).unwrap();
    let vocab_size = model.config().vocab_size as u32;
    // Ids from the whole vocabulary, in an order that the model hasn't learned.
    let ids: Vec<i64> = (0..3 * 64).map(|at| i64::from((at * 167 + 5) % vocab_size)).collect();
    let ids = TensorData::new(ids, [3, 64]);
    let tokens_bt = Tensor::<2, Int>::from_data(ids.clone(), &device);
    let hidden_btd = model.hidden(tokens_bt, &Positions::Sequential, &AttentionMask::Causal);
    let logits = model.logits(hidden_btd).into_data();

    let header = |name: &str, data: &TensorData, dtype| TensorHeader {
        name: name.to_owned(),
        shape: data.shape().to_vec(),
        dtype,
    };
    let headers = [header("input_ids", &ids, DType::I64), header("logits", &logits, DType::F32)];
    let count = logits.num_elements();
    write_safetensors(&mut fs_err::File::create(file).unwrap(), &headers, [ids, logits]).unwrap();
    count
}
