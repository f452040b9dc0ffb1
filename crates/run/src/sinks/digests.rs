//! Hashes of the parameters after each step (`log.digest`), to compare two runs tensor by tensor.

use burn::tensor::TensorData;
use fineline_model::{Llama, named_parameters};

use serde_json::{Map, Value};

use crate::error::RunError;
use crate::records::digests::DigestRecord;
use crate::records::jsonl::read_lines;
use fineline_layout::RunDirectory;

/// The chain of hashes of a run.
pub(crate) struct DigestChain {
    chain: String,
}

impl DigestChain {
    /// Continues the chain in the log, which ends at the step where training starts.
    ///
    /// # Errors
    /// A log that can't be read.
    pub(crate) fn resume(directory: &RunDirectory) -> Result<Self, RunError> {
        let last = read_lines::<DigestRecord>(&directory.digests())?.pop();
        Ok(Self { chain: last.map(|record| record.chain).unwrap_or_default() })
    }

    /// Computes the next record of the chain, from the weights after `step`.
    pub(crate) fn next(&mut self, step: u64, model: &Llama) -> DigestRecord {
        let hash = |values: &TensorData| {
            let bytes: Vec<u8> = values.iter::<f32>().flat_map(f32::to_le_bytes).collect();
            Value::from(blake3::hash(&bytes).to_hex().as_str())
        };
        let parameters = named_parameters(model);
        let tensors: Map<_, _> =
            parameters.iter().map(|(name, values)| (name.clone(), hash(values))).collect();
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.chain.as_bytes()).update(&step.to_le_bytes());
        for (name, hash) in &tensors {
            hasher.update(name.as_bytes()).update(hash.as_str().unwrap_or_default().as_bytes());
        }
        self.chain = hasher.finalize().to_hex().to_string();
        DigestRecord { step, chain: self.chain.clone(), tensors }
    }
}
