//! Logits, losses and gradients compared with `transformers`, on every case in `tests/fixtures/model`.
//!
//! A case is a directory with `config.json`, `model.safetensors` and `case.safetensors`, which has
//! `input_ids`, `logits`, `loss` (mean over next tokens) and `grad.<parameter>`. If rows are padded on the
//! right, `attention_lengths` has their lengths. A script in `scripts/` creates the cases.

use std::path::{Path, PathBuf};

use burn::{
    module::ParamId,
    tensor::{Device, Gradients, Int, Tensor, TensorData},
};
use fineline_kernels::{AttentionMask, cross_entropy};
use fineline_model::{Llama, ParameterMap, Positions, load, map_parameters};
use safetensors::SafeTensors;

const LOGITS_TOLERANCE: f32 = 1e-4;
const LOSS_TOLERANCE: f32 = 1e-5;
const GRADIENT_TOLERANCE: f64 = 1e-3;

#[test]
fn equals_transformers() {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/model"));
    let mut cases: Vec<PathBuf> = fs_err::read_dir(fixtures)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    cases.sort();
    assert!(!cases.is_empty(), "no fixtures in {}", fixtures.display());
    for case in cases {
        eprintln!("{}", case.display());
        Case::read(&case).check(&load(&case, &Device::flex().autodiff()).unwrap());
    }
}

/// The same weights in every layout and precision of `scripts/fixtures/weights.py`. The values are exact in
/// all of them.
#[test]
fn logits_from_every_layout_equal_transformers() {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/weights"));
    let mut compared = 0;
    for name in ["untied", "tied"] {
        let reference = fixtures.join(name);
        let below = fs_err::read_dir(&reference).unwrap().map(|entry| entry.unwrap().path());
        for dir in below.filter(|path| path.is_dir()).chain([reference.clone()]) {
            eprintln!("{}", dir.display());
            Case::read(&reference).check_logits(&load(&dir, &Device::flex()).unwrap());
            compared += 1;
        }
    }
    assert_eq!(compared, 9);
}

/// The `hidden.safetensors` of some cases has `hidden.0` (after the embedding), `hidden.1`, ... (after each
/// layer), and the final-normed states.
#[test]
fn hidden_states_at_each_depth_equal_transformers() {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/model"));
    for (name, depths) in [("gqa", 3), ("mha", 4), ("tied", 4)] {
        let dir = fixtures.join(name);
        let hidden = Case { bytes: fs_err::read(dir.join("hidden.safetensors")).expect("it can be read") };
        assert_eq!(hidden.tensors().len(), depths);
        let model = load(&dir, &Device::flex()).expect("the model can be loaded");
        let tokens = Case::read(&dir).tokens(&model.device());
        let mut states: Vec<Vec<f32>> = Vec::new();
        model.visit_hidden(tokens.clone(), &Positions::Sequential, &AttentionMask::Causal, &mut |hidden| {
            states.push(hidden.clone().into_data().iter().collect());
        });
        assert_eq!(states.len(), depths);
        for (depth, states) in states.iter().enumerate() {
            let expected = hidden.floats(&format!("hidden.{depth}"));
            assert_eq!(states.len(), expected.len());
            let distance = states.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(distance <= LOGITS_TOLERANCE, "{name} at depth {depth}: {distance}");
        }
        let last = model.hidden(tokens, &Positions::Sequential, &AttentionMask::Causal);
        assert_eq!(states[depths - 1], last.into_data().iter().collect::<Vec<f32>>());
    }
}

struct Case {
    bytes: Vec<u8>,
}

impl Case {
    fn read(dir: &Path) -> Self {
        Self { bytes: fs_err::read(dir.join("case.safetensors")).expect("case.safetensors can be read") }
    }

    fn tensors(&self) -> SafeTensors<'_> {
        SafeTensors::deserialize(&self.bytes).expect("case.safetensors is whole")
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        bytemuck::pod_collect_to_vec(self.tensors().tensor(name).expect(name).data())
    }

    fn ints(&self, name: &str) -> Option<Vec<u32>> {
        let values: Vec<i64> = bytemuck::pod_collect_to_vec(self.tensors().tensor(name).ok()?.data());
        Some(values.into_iter().map(|value| value as u32).collect())
    }

    fn tokens(&self, device: &Device) -> Tensor<2, Int> {
        let shape = self.tensors().tensor("input_ids").expect("input_ids").shape().to_vec();
        Tensor::from_data(TensorData::new(self.ints("input_ids").expect("input_ids"), shape), device)
    }

    /// Compares the logits of the real tokens with those of the case. Returns the lengths of the rows and the
    /// hidden states.
    fn check_logits(&self, model: &Llama) -> (Vec<u32>, Tensor<3>) {
        let shape = self.tensors().tensor("input_ids").expect("input_ids").shape().to_vec();
        let [batch, time] = shape[..] else { panic!("input_ids has shape {shape:?}") };
        let lengths = self.ints("attention_lengths").unwrap_or_else(|| vec![time as u32; batch]);
        let tokens = self.tokens(&model.device());
        let hidden = model.hidden(tokens, &Positions::Sequential, &AttentionMask::Causal);
        let logits: Vec<f32> =
            model.valid().logits(hidden.clone().without_autodiff()).into_data().iter().collect();
        let vocab = model.config().vocab_size;
        for (i, (actual, expected)) in logits.iter().zip(self.floats("logits")).enumerate() {
            let (row, at) = (i / vocab / time, i / vocab % time);
            let close = (actual - expected).abs() <= LOGITS_TOLERANCE;
            assert!(
                close || (at as u32) >= lengths[row],
                "logit {} at {row}, {at}: {actual}, expected {expected}",
                i % vocab
            );
        }
        (lengths, hidden)
    }

    fn check(&self, model: &Llama) {
        let (lengths, hidden) = self.check_logits(model);
        let device = model.device();
        let ids = self.ints("input_ids").expect("input_ids");
        let (batch, time) = (lengths.len(), ids.len() / lengths.len());
        let is_real = |row: usize, at: usize| (at as u32) < lengths[row];

        let mut targets = Vec::new();
        let mut weights = Vec::new();
        for row in 0..batch {
            for at in 0..time {
                targets.push(if at + 1 < time { ids[row * time + at + 1] } else { 0 });
                weights.push(if at + 1 < time && is_real(row, at + 1) { 1.0 } else { 0.0 });
            }
        }
        let count: f32 = weights.iter().sum();
        let loss = cross_entropy(
            hidden.reshape([batch * time, model.config().hidden_size]),
            model.lm_head(),
            Tensor::from_data(TensorData::new(targets, [batch * time]), &device),
            Tensor::<1>::from_data(TensorData::new(weights, [batch * time]), &device) / count,
        );
        let (actual, expected) = (loss.clone().into_scalar::<f32>(), self.floats("loss")[0]);
        assert!((actual - expected).abs() <= LOSS_TOLERANCE * expected, "loss {actual}, expected {expected}");

        let gradients = loss.backward();
        let mut check = CheckGradients { case: self, gradients: &gradients, checked: 0 };
        let _ = map_parameters(model.clone(), &mut check);
        let stored = self.tensors().names().iter().filter(|name| name.starts_with("grad.")).count();
        assert_eq!(check.checked, stored, "every gradient of the case is compared");
    }
}

struct CheckGradients<'a> {
    case: &'a Case,
    gradients: &'a Gradients,
    checked: usize,
}

impl ParameterMap for CheckGradients<'_> {
    fn map<const D: usize>(&mut self, name: &str, _id: ParamId, value: Tensor<D>) -> Tensor<D> {
        let actual = value.grad(self.gradients).expect("every parameter has a gradient").into_data();
        let expected = self.case.floats(&format!("grad.{name}"));
        let norm =
            |values: &mut dyn Iterator<Item = f32>| values.map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt();
        let difference = norm(&mut actual.iter::<f32>().zip(&expected).map(|(a, e)| a - e));
        let relative = difference / norm(&mut expected.iter().copied());
        assert!(relative <= GRADIENT_TOLERANCE, "gradient of {name} differs by {relative:.1e} of its norm");
        self.checked += 1;
        value
    }
}
