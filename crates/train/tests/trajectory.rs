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
    /// The end of the decay, by the name that EasyLM and optax have for it.
    decay_steps: u64,
}

/// `rows.safetensors`: what is fed, and what came out.
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

/// Compares each step as it happens.
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

/// The norm of the difference over the norm.
fn relative_distance(actual: &[f32], expected: &[f32]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let pairs = actual.iter().zip(expected);
    let difference = norm(&mut pairs.map(|(&a, &b)| f64::from(a) - f64::from(b)));
    difference / norm(&mut expected.iter().map(|&value| f64::from(value))).max(1e-12)
}

fn follow(folder: &Path) {
    let case = folder.file_name().unwrap().to_string_lossy();
    let reference: Reference =
        serde_json::from_slice(&fs_err::read(folder.join("recipe.json")).unwrap()).unwrap();
    let rows = Rows::read(&folder.join("rows.safetensors"), reference.bos_id);
    assert_eq!(rows.losses.len() as u64, reference.steps);

    let model = fineline_model::load(folder, &Device::flex().autodiff()).unwrap();
    let mut trainer = Trainer::new(recipe(&reference, &rows, Precision::F32), model).unwrap();
    let mut compare = Compare { case: &case, expected: &rows };
    train(&mut trainer, &rows, &mut compare);

    let bytes = fs_err::read(folder.join("final.safetensors")).unwrap();
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
    let folder = fixtures().join("trajectory");
    let mut cases: Vec<PathBuf> =
        fs_err::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty(), "no fixtures in {}", folder.display());
    cases
}

/// All steps, with one who looks on.
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
fn steps_are_those_of_torch() {
    for case in cases() {
        follow(&case);
    }
}

/// What `torch.autocast` reports of a case: `tests/fixtures/autocast.json`.
#[derive(Deserialize)]
struct Autocast {
    losses: Vec<f64>,
    grad_norms: Vec<f64>,
}

/// Writes down losses and gradient norms.
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

/// The root of the mean square of the relative differences of two curves.
fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares = a.iter().zip(b).map(|(a, b)| (a / b - 1.0).powi(2));
    (squares.sum::<f64>() / a.len() as f64).sqrt()
}

/// In bfloat16, whose values lie 2⁻⁸ apart, the curves of losses stay within 5e-4 of those of
/// `torch.autocast` and of float32, those of gradient norms within 4e-3. Autocast's own are as far from
/// float32's: rounding errors of one run are not those of another. They are not float32's either.
#[test]
fn bfloat16_steps_are_those_of_torchs_autocast() {
    let autocast: BTreeMap<String, Autocast> =
        serde_json::from_slice(&fs_err::read(fixtures().join("autocast.json")).unwrap()).unwrap();
    for folder in cases() {
        let case = folder.file_name().unwrap().to_string_lossy();
        let reference: Reference =
            serde_json::from_slice(&fs_err::read(folder.join("recipe.json")).unwrap()).unwrap();
        let rows = Rows::read(&folder.join("rows.safetensors"), reference.bos_id);
        let model = fineline_model::load(&folder, &Device::flex().autodiff()).unwrap();
        let mut trainer = Trainer::new(recipe(&reference, &rows, Precision::Bf16Mixed), model).unwrap();
        let mut curve = Curve::default();
        train(&mut trainer, &rows, &mut curve);

        let torch = &autocast[&*case];
        for (whose, losses, grad_norms) in
            [("autocast's", &torch.losses, &torch.grad_norms), ("float32's", &rows.losses, &rows.grad_norms)]
        {
            let distances = [apart(&curve.losses, losses), apart(&curve.grad_norms, grad_norms)];
            assert!(
                (1e-5..5e-4).contains(&distances[0]) && (1e-4..4e-3).contains(&distances[1]),
                "{case}: losses and gradient norms are {distances:?} from {whose}"
            );
        }
    }
}
