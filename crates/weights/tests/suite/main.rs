//! Weights in every layout, complete and damaged. `scripts/fixtures/weights.py` creates the fixtures.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod damage;
mod layouts;

use std::path::{Path, PathBuf};

use fineline_weights::{StoredTensor, WeightFiles};

/// Returns the path of a fixture.
fn fixture(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/weights").join(relative)
}

/// Returns the head size of a fixture.
fn head_size(relative: &str) -> usize {
    if relative.starts_with("tied") { 10 } else { 6 }
}

fn open(relative: &str) -> WeightFiles {
    WeightFiles::open(&fixture(relative)).unwrap().with_head_size(head_size(relative)).unwrap()
}

fn all(checkpoint: &WeightFiles) -> Vec<&StoredTensor> {
    checkpoint.tensors.values().collect()
}

/// The fixtures that are not safetensors.
const OTHERS: [&str; 7] = [
    "untied/bin-float32",
    "untied/bin-float16",
    "untied/bin-bfloat16",
    "untied/easylm-float32",
    "untied/easylm-bfloat16",
    "tied/bin-float32",
    "tied/easylm-float16",
];
