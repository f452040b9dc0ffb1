//! A tiny model, rows for it, and helpers for tests.

use std::sync::Arc;

use burn::tensor::Device;
use fineline_data::Row;
use fineline_kernels::Precision;
use fineline_model::{Llama, LlamaConfig, named_parameters};
use fineline_random::Stream;
use fineline_ranks::SingleRank;
use rand::RngExt;

use crate::{
    Checkpointer, DistributedConfig, Division, GuardConfig, Observer, ObserverError, OptimConfig, RowSource,
    ScheduleConfig, Session, SessionOutcome, StepReport, StepView, StopSignal, TrainConfig, TrainError,
    Trainer, TrainerControl, TrainingRecipe,
};

pub(crate) const SEQ_LEN: usize = 6;

pub(crate) fn config() -> LlamaConfig {
    LlamaConfig {
        vocab_size: 17,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        num_key_value_heads: Some(1),
        initializer_range: 0.3,
        ..LlamaConfig::default()
    }
}

pub(crate) fn model() -> Llama {
    config().init(1, &device())
}

pub(crate) fn device() -> Device {
    Device::flex().autodiff()
}

/// Seven steps of eight rows, four at a time.
pub(crate) fn recipe() -> TrainingRecipe {
    TrainingRecipe {
        optim: OptimConfig { lr: 0.02, ..OptimConfig::default() },
        schedule: ScheduleConfig { warmup_steps: 2, min_lr: 0.002, ..ScheduleConfig::default() },
        train: TrainConfig {
            steps: Some(7),
            global_batch_size: 8,
            micro_batch_size: 4,
            ..TrainConfig::default()
        },
        guard: GuardConfig::default(),
        seq_len: SEQ_LEN,
        document_mask: true,
        frozen_row: None,
        rewarm: None,
        precision: Precision::F32,
    }
}

/// The division with a single rank.
pub(crate) fn undivided() -> Division {
    Division::new(&DistributedConfig::default(), &recipe().train, &config(), &SingleRank).unwrap()
}

pub(crate) fn trainer(recipe: TrainingRecipe) -> Trainer {
    Trainer::new(recipe, model()).unwrap()
}

/// Random tokens, cut into documents here and there, unevenly masked.
pub(crate) struct RandomRows;

impl RowSource for RandomRows {
    fn row(&self, index: u64) -> Row {
        let mut stream = Stream::new(7, "rows", index);
        let mut document = 0;
        Row {
            tokens: (0..=SEQ_LEN).map(|_| stream.random_range(0..17)).collect(),
            target_mask: (0..SEQ_LEN as u64)
                .map(|at| at == 0 || stream.random_bool(0.2 + 0.1 * (index % 8) as f64))
                .collect(),
            documents: (0..SEQ_LEN)
                .map(|_| {
                    document += u32::from(stream.random_bool(0.3));
                    document
                })
                .collect(),
        }
    }
}

/// [`RandomRows`], with all targets masked in these steps.
pub(crate) struct Masked(pub(crate) std::ops::RangeInclusive<u64>);

impl RowSource for Masked {
    fn row(&self, index: u64) -> Row {
        let mut row = RandomRows.row(index);
        if self.0.contains(&(index / 8 + 1)) {
            row.target_mask.fill(false);
        }
        row
    }
}

pub(crate) fn rows_of_step(step: u64) -> Vec<Row> {
    ((step - 1) * 8..step * 8).map(|index| RandomRows.row(index)).collect()
}

/// Runs a session to its end, and returns its outcome with the reports of all steps.
pub(crate) fn run(
    trainer: &mut Trainer,
    rows: &dyn RowSource,
    checkpointer: Option<Checkpointer>,
) -> (Result<SessionOutcome, TrainError>, Vec<StepReport>) {
    let mut reports = Reports::default();
    let session = Session {
        rows,
        observers: vec![&mut reports],
        checkpointer,
        stop: StopSignal::default(),
        ranks: &SingleRank,
        clock: Arc::default(),
    };
    (session.run(trainer), reports.0)
}

#[derive(Default)]
pub(crate) struct Reports(pub(crate) Vec<StepReport>);

impl Observer for Reports {
    fn on_step(&mut self, report: &StepReport, _: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        self.0.push(*report);
        Ok(TrainerControl::Continue)
    }
}

/// Losses, gradient norms and learning rates as bits.
pub(crate) fn numbers(reports: &[StepReport]) -> Vec<(u64, u32, u32, u64)> {
    reports.iter().map(|r| (r.step, r.loss.to_bits(), r.grad_norm.to_bits(), r.lr.to_bits())).collect()
}

/// All weights as bits, by name.
pub(crate) fn weight_bits(model: &Llama) -> Vec<(String, Vec<u32>)> {
    let bits = |data: burn::tensor::TensorData| data.iter::<f32>().map(f32::to_bits).collect();
    named_parameters(model).into_iter().map(|(name, data)| (name, bits(data))).collect()
}

/// The optimizer state as bits, by name.
pub(crate) fn optimizer_bits(trainer: &Trainer) -> Vec<(String, Vec<u32>)> {
    let bits = |tensor: &burn::tensor::Tensor<1>| {
        tensor.to_data().iter::<f32>().map(f32::to_bits).collect::<Vec<u32>>()
    };
    let states = trainer.optimizer.state.iter();
    states
        .map(|(name, state)| (name.clone(), [bits(&state.exp_avg), bits(&state.exp_avg_sq)].concat()))
        .collect()
}
