//! Fifty steps from the same weights and rows as a torch script: the same losses, gradient norms and final
//! weights.
//!
//! The cases are in `tests/fixtures/trajectory`, made by `scripts/fixtures/trajectory.py`, whose opening
//! comment describes their files.

#![allow(clippy::unwrap_used, reason = "all of it is a test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Device;
use fineline_data::Row;
use fineline_kernels::Precision;
use fineline_model::named_parameters;
use fineline_ranks::SingleRank;
use fineline_train::{
    GuardConfig, LossReduction, Observer, ObserverError, OptimConfig, RowSource, ScheduleConfig,
    ScheduleKind, Session, SessionOutcome, StepReport, StepView, StopSignal, TrainConfig, Trainer,
    TrainerControl, TrainingRecipe,
};
use safetensors::SafeTensors;
use serde::Deserialize;

/// `recipe.json`.
#[derive(Deserialize)]
struct Reference {
    lr: f64,
    betas: [f64; 2],
    eps: f64,
    weight_decay: f64,
    decay: fineline_train::WeightDecayScope,
    clip_norm: f64,
    schedule: ReferenceSchedule,
    loss: LossReduction,
    steps: u64,
    global_batch_size: usize,
    micro_batch_size: usize,
    bos_id: u32,
}

#[derive(Deserialize)]
struct ReferenceSchedule {
    kind: ScheduleKind,
    warmup_steps: u64,
    min_lr: f64,
    decay_start: Option<u64>,
    /// The end of the decay, under the name of EasyLM and optax.
    decay_steps: u64,
}

/// `rows.safetensors`: inputs and expected metrics.
struct Rows {
    tokens: Vec<u32>,
    row_len: usize,
    bos_id: u32,
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
    lrs: Vec<f64>,
}

impl Rows {
    fn read(path: &Path, bos_id: u32) -> Self {
        let bytes = fs_err::read(path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tokens = file.tensor("tokens").unwrap();
        let floats = |name| eight_bytes(file.tensor(name).unwrap().data()).map(f64::from_le_bytes).collect();
        Self {
            row_len: tokens.shape()[1],
            tokens: eight_bytes(tokens.data())
                .map(|bytes| u32::try_from(i64::from_le_bytes(bytes)).unwrap())
                .collect(),
            bos_id,
            losses: floats("losses"),
            grad_norms: floats("grad_norms"),
            lrs: floats("lrs"),
        }
    }
}

fn eight_bytes(data: &[u8]) -> impl Iterator<Item = [u8; 8]> {
    data.as_chunks::<8>().0.iter().copied()
}

impl RowSource for Rows {
    fn row(&self, index: u64) -> Row {
        let tokens = self.tokens.chunks(self.row_len).nth(index as usize).unwrap().to_vec();
        Row {
            target_mask: tokens[1..].iter().map(|&target| target != self.bos_id).collect(),
            documents: vec![0; self.row_len - 1],
            tokens,
        }
    }
}

fn recipe(reference: &Reference, rows: &Rows, precision: Precision) -> TrainingRecipe {
    let schedule = &reference.schedule;
    TrainingRecipe {
        optim: OptimConfig {
            lr: reference.lr,
            betas: reference.betas,
            eps: reference.eps,
            weight_decay: reference.weight_decay,
            decay: reference.decay,
            clip_norm: reference.clip_norm,
            ..OptimConfig::default()
        },
        schedule: ScheduleConfig {
            kind: schedule.kind,
            warmup_steps: schedule.warmup_steps,
            min_lr: schedule.min_lr,
            decay_start: schedule.decay_start,
            decay_end: Some(schedule.decay_steps),
        },
        train: TrainConfig {
            steps: Some(reference.steps),
            global_batch_size: reference.global_batch_size,
            micro_batch_size: reference.micro_batch_size,
            loss: reference.loss,
            ..TrainConfig::default()
        },
        guard: GuardConfig::default(),
        seq_len: rows.row_len - 1,
        document_mask: false,
        frozen_row: None,
        rewarm: None,
        precision,
    }
}

/// Compares each step with the reference.
struct Compare<'a> {
    case: &'a str,
    expected: &'a Rows,
}

impl Observer for Compare<'_> {
    fn on_step(&mut self, report: &StepReport, _: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        let at = report.step as usize - 1;
        for (what, actual, expected, tolerance) in [
            ("loss", f64::from(report.loss), self.expected.losses[at], 1e-4),
            ("gradient norm", f64::from(report.grad_norm), self.expected.grad_norms[at], 1e-3),
            ("learning rate", report.lr, self.expected.lrs[at], 1e-12),
        ] {
            let error = (actual - expected).abs();
            assert!(
                error <= tolerance * expected.abs(),
                "{}, step {}: {what} {actual} instead of {expected}",
                self.case,
                report.step
            );
        }
        Ok(TrainerControl::Continue)
    }
}

/// Returns the norm of the difference divided by the norm.
fn relative_distance(actual: &[f32], expected: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let pairs = actual.iter().zip(expected);
    let difference = norm(&mut pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)));
    difference / norm(&mut expected.iter().map(|&value| f64::from(value))).max(1e-12)
}

fn check_trajectory(directory: &Path) {
    let case = directory.file_name().unwrap().to_string_lossy();
    let reference: Reference =
        serde_json::from_slice(&fs_err::read(directory.join("recipe.json")).unwrap()).unwrap();
    let rows = Rows::read(&directory.join("rows.safetensors"), reference.bos_id);
    assert_eq!(rows.losses.len() as u64, reference.steps);

    let model = fineline_model::load(directory, &Device::flex().autodiff()).unwrap();
    let mut trainer = Trainer::new(recipe(&reference, &rows, Precision::F32), model).unwrap();
    let mut compare = Compare { case: &case, expected: &rows };
    train(&mut trainer, &rows, &mut compare);

    let bytes = fs_err::read(directory.join("final.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    for (name, actual) in named_parameters(trainer.model()) {
        let actual: Vec<f32> = actual.iter::<f32>().collect();
        let expected = expected.tensor(&name).unwrap();
        let expected: Vec<f32> =
            expected.data().as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
        let distance = relative_distance(&actual, &expected);
        assert!(distance <= 1e-3, "{case}: final {name} is off by {distance:e}");
    }
}

fn fixtures() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures"))
}

fn cases() -> Vec<PathBuf> {
    let directory = fixtures().join("trajectory");
    let mut cases: Vec<PathBuf> =
        fs_err::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "no fixtures in {}", directory.display());
    cases
}

/// Trains all steps with one observer.
fn train(trainer: &mut Trainer, rows: &Rows, observer: &mut dyn Observer) {
    let session = Session {
        rows,
        observers: vec![observer],
        checkpointer: None,
        stop: StopSignal::default(),
        ranks: &SingleRank,
        clock: Arc::default(),
    };
    assert_eq!(session.run(trainer).unwrap(), SessionOutcome::Finished);
}

#[test]
fn steps_equal_those_of_torch() {
    for case in cases() {
        check_trajectory(&case);
    }
}

/// The metrics of `torch.autocast` for a case, from `tests/fixtures/autocast.json`.
#[derive(Deserialize)]
struct Autocast {
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
}

/// Records losses and gradient norms.
#[derive(Default)]
struct Curve {
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
}

impl Observer for Curve {
    fn on_step(&mut self, report: &StepReport, _: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        self.losses.push(f64::from(report.loss));
        self.grad_norms.push(f64::from(report.grad_norm));
        Ok(TrainerControl::Continue)
    }
}

/// Returns the root mean square of the relative differences of two curves.
fn rms_difference(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = a.iter().zip(b).map(|(a, b)| (a / b - 1.0).powi(2));
    (squares.sum::<f64>() / a.len() as f64).sqrt()
}

/// With bfloat16, which has a relative spacing of 2⁻⁸, the loss curves stay within 5e-4 of those of
/// `torch.autocast` and of float32, and the gradient norms within 4e-3. Autocast itself is as far from
/// float32, because rounding errors differ between runs. The curves also differ from float32, so bfloat16 is
/// in use.
#[test]
fn bfloat16_steps_equal_those_of_torchs_autocast() {
    let autocast: BTreeMap<String, Autocast> =
        serde_json::from_slice(&fs_err::read(fixtures().join("autocast.json")).unwrap()).unwrap();
    for directory in cases() {
        let case = directory.file_name().unwrap().to_string_lossy();
        let reference: Reference =
            serde_json::from_slice(&fs_err::read(directory.join("recipe.json")).unwrap()).unwrap();
        let rows = Rows::read(&directory.join("rows.safetensors"), reference.bos_id);
        let model = fineline_model::load(&directory, &Device::flex().autodiff()).unwrap();
        let mut trainer = Trainer::new(recipe(&reference, &rows, Precision::Bf16Mixed), model).unwrap();
        let mut curve = Curve::default();
        train(&mut trainer, &rows, &mut curve);

        let torch = &autocast[&*case];
        for (whose, losses, grad_norms) in
            [("autocast's", &torch.losses, &torch.grad_norms), ("float32's", &rows.losses, &rows.grad_norms)]
        {
            let distances =
                [rms_difference(&curve.losses, losses), rms_difference(&curve.grad_norms, grad_norms)];
            assert!(
                (1e-5..5e-4).contains(&distances[0]) && (1e-4..4e-3).contains(&distances[1]),
                "{case}: losses and gradient norms are {distances:?} from {whose}"
            );
        }
    }
}
