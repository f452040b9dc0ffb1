//! The trainer, and one optimizer step on it.
//!
//! Shapes: b batch, t time, n = b * t tokens, d hidden.

use std::ops::Range;
use std::sync::Arc;

use burn::tensor::Tensor;
use fineline_data::Row;
use fineline_kernels::{cross_entropy, in_pool};
use fineline_model::{Llama, Positions};
use fineline_ranks::Ranks;

use crate::alarm::SkipReason;
use crate::distributed::{self, Division};
use crate::error::TrainError;
use crate::faults::{MetricFault, distort};
use crate::guard::{Guard, GuardState, GuardVerdict, StepMetrics};
use crate::optim::{AdamState, AdamW, GradientSum};
use crate::parameters::ByName;
use crate::progress::TrainingProgress;
use crate::rows::{RowRange, RowSchedule, SkippedRows};
use crate::schedule::{LrSchedule, Rewarm};
use crate::step::batch::{BatchTotals, MicroBatch, count_targets, find_invalid_row, loss_weights};
use crate::step::recipe::TrainingRecipe;
use crate::train_config::TrainConfig;

/// The result of one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepOutcome {
    /// Loss of the global batch before the update, in nats per token.
    pub loss: f32,
    /// Norm of all gradients before clipping.
    pub grad_norm: f32,
    /// Learning rate of the update.
    pub lr: f64,
    /// The decision of the guard, with the reason if the update was skipped.
    pub verdict: GuardVerdict,
}

/// The complete state of a [`Trainer`], except its recipe.
pub(crate) struct TrainerState {
    pub(crate) model: Llama,
    pub(crate) optimizer_state: ByName<AdamState>,
    /// Number of updates made by the optimizer.
    pub(crate) updates: u64,
    pub(crate) progress: TrainingProgress,
    pub(crate) rewarm: Option<Rewarm>,
    pub(crate) skipped_rows: SkippedRows,
    pub(crate) guard: GuardState,
}

/// A model in training: weights, optimizer state and progress.
///
/// [`step`](Self::step) is one optimizer step and nothing else. [`Session`](crate::Session) is the loop
/// around it.
pub struct Trainer {
    recipe: TrainingRecipe,
    schedule: LrSchedule,
    total_steps: u64,
    /// `None` only during an update.
    pub(crate) model: Option<Llama>,
    pub(crate) optimizer: AdamW,
    progress: TrainingProgress,
    /// The division of steps among ranks. `None` on a single rank without a fixed order of additions.
    division: Option<Arc<Division>>,
    guard: Guard,
    rows: RowSchedule,
    faults: Vec<MetricFault>,
}

impl Trainer {
    /// Starts training at step 0. The model must be on a device with autodiff.
    ///
    /// # Errors
    /// [`TrainError::Config`] if a value of the recipe is not allowed.
    pub fn new(recipe: TrainingRecipe, model: Llama) -> Result<Self, TrainError> {
        let schedule = recipe.validate()?;
        let total_steps = recipe.train.total_steps(recipe.seq_len)?;
        let optimizer = AdamW::new(recipe.optim.clone());
        let model = model.with_precision(recipe.precision);
        let rows = RowSchedule::without_skips(recipe.train.global_batch_size);
        let guard = Guard::new(recipe.guard.clone(), GuardState::default());
        Ok(Self {
            recipe,
            schedule,
            total_steps,
            model: Some(model),
            optimizer,
            progress: TrainingProgress::default(),
            division: None,
            guard,
            rows,
            faults: Vec::new(),
        })
    }

    /// Makes this the trainer of one of several ranks. Its optimizer state must be that of the rank: empty,
    /// or [loaded](crate::Checkpoint::load) with the same division.
    #[must_use]
    pub fn with_division(self, division: Division) -> Self {
        Self { division: (!division.is_trivial()).then(|| Arc::new(division)), ..self }
    }

    /// Starts training at `progress` from weights, with optimizer state reset to zero: the continuation of a
    /// run of which only the weights were published. The model must be on a device with autodiff.
    ///
    /// # Errors
    /// [`TrainError::Config`] if a value of the recipe is not allowed.
    pub fn from_weights(
        recipe: TrainingRecipe,
        model: Llama,
        progress: TrainingProgress,
    ) -> Result<Self, TrainError> {
        Ok(Self { progress, ..Self::new(recipe, model)? })
    }

    /// Resumes training from a state, with the same bits as if it had never stopped. The second warm-up is
    /// taken from the state.
    pub(crate) fn from_state(recipe: TrainingRecipe, state: TrainerState) -> Result<Self, TrainError> {
        let recipe = TrainingRecipe { rewarm: state.rewarm, ..recipe };
        let mut trainer = Self::new(recipe, state.model)?;
        trainer.optimizer.state = state.optimizer_state;
        trainer.optimizer.updates = state.updates;
        trainer.progress = state.progress;
        trainer.guard.state = state.guard;
        trainer.rows = RowSchedule::new(trainer.recipe.train.global_batch_size, state.skipped_rows);
        Ok(trainer)
    }

    /// Skips rows from now on. They must not precede the rows of the next step.
    pub fn skip_rows(&mut self, rows: RowRange) {
        self.rows.skip(rows);
    }

    /// Distorts the metrics that the guard gets, for fault injection.
    pub fn inject_faults(&mut self, faults: Vec<MetricFault>) {
        self.faults = faults;
    }

    /// Returns the learning rate of the next update, unless the guard reduces it.
    #[must_use]
    pub fn next_lr(&self) -> f64 {
        self.schedule.lr(self.progress.step) * self.guard.lr_factor(self.progress.step + 1)
    }

    /// Returns the rows of each step.
    #[must_use]
    pub fn rows(&self) -> &RowSchedule {
        &self.rows
    }

    pub(crate) fn guard(&self) -> &Guard {
        &self.guard
    }

    /// Returns the live weights.
    ///
    /// # Panics
    /// Never: the model is only absent during an update.
    #[must_use]
    pub fn model(&self) -> &Llama {
        self.model.as_ref().expect("the model is only absent during an update")
    }

    /// Returns the progress of the run.
    #[must_use]
    pub fn progress(&self) -> TrainingProgress {
        self.progress
    }

    /// Returns the length of the whole run in steps.
    #[must_use]
    pub fn total_steps(&self) -> u64 {
        self.total_steps
    }

    /// Returns the recipe.
    #[must_use]
    pub fn recipe(&self) -> &TrainingRecipe {
        &self.recipe
    }

    /// Returns the division of steps among ranks. `None` on a single rank without a fixed order of additions.
    pub(crate) fn division(&self) -> Option<&Division> {
        self.division.as_deref()
    }

    /// Returns the positions of this rank's rows in a global batch.
    #[must_use]
    pub fn own_rows(&self) -> Range<usize> {
        let TrainConfig { global_batch_size, micro_batch_size, .. } = self.recipe.train;
        match &self.division {
            Some(division) => {
                let own = division.micro_batches();
                own.start * micro_batch_size..own.end * micro_batch_size
            }
            None => 0..global_batch_size,
        }
    }

    /// Takes one optimizer step on a global batch, of which `rows` are [this rank's](Self::own_rows).
    /// Collective.
    ///
    /// The weights of the loss are derived from the masks of all rows, so the sum of gradients over
    /// micro-batches and ranks is the gradient of the whole batch. The loss and the gradient norm are read
    /// from the device in one transfer. If the guard skips the update, the weights and the optimizer state
    /// don't change.
    ///
    /// # Errors
    /// [`TrainError::Row`] if a row doesn't fit the model. Nothing has changed in that case.
    pub fn step(&mut self, rows: &[Row], ranks: &dyn Ranks) -> Result<StepOutcome, TrainError> {
        let step = self.progress.step + 1;
        if let Some((row, reason)) =
            find_invalid_row(rows, self.recipe.seq_len, self.model().config().vocab_size)
        {
            return Err(TrainError::Row { step, row: self.own_rows().start + row, reason });
        }
        let lr = self.schedule.lr(self.progress.step);
        let targets = match &self.division {
            Some(_) => distributed::count_targets(count_targets(rows), ranks),
            None => count_targets(rows),
        };
        let outcome = if targets == 0 {
            let verdict = GuardVerdict { skipped: Some(SkipReason::NoTargets), ..GuardVerdict::default() };
            StepOutcome { loss: 0.0, grad_norm: 0.0, lr, verdict }
        } else {
            let TrainConfig { loss, global_batch_size, .. } = self.recipe.train;
            let weights = loss_weights(rows, loss, BatchTotals { targets, rows: global_batch_size });
            match self.division.clone() {
                Some(division) => self.step_distributed(rows, &weights, lr, &division, ranks),
                None => in_pool(|| self.step_local(rows, &weights, lr)),
            }
        };
        self.progress = TrainingProgress {
            step,
            tokens: self.progress.tokens + self.recipe.train.tokens_per_step(self.recipe.seq_len),
            consecutive_skips: match outcome.verdict.skipped {
                Some(_) => self.progress.consecutive_skips + 1,
                None => 0,
            },
        };
        Ok(outcome)
    }

    /// A step on a single rank.
    fn step_local(&mut self, rows: &[Row], weights: &[f32], lr: f64) -> StepOutcome {
        let mut gradients = GradientSum::default();
        let mut losses = Vec::new();
        for (loss, gradient) in self.micro_batches(rows, weights) {
            losses.push(loss);
            gradients = gradients.plus(gradient);
        }
        self.freeze(&mut gradients);
        self.finish_local_step(Tensor::cat(losses, 0).sum(), gradients, lr)
    }

    /// Reads the metrics from the device, and updates unless the guard skips.
    fn finish_local_step(&mut self, loss: Tensor<1>, gradients: GradientSum, lr: f64) -> StepOutcome {
        let outcome = self.judge(read_metrics(loss, gradients.norm()), lr);
        if outcome.verdict.skipped.is_none() {
            self.update(gradients, outcome.grad_norm, outcome.lr);
        }
        outcome
    }

    /// Lets the guard decide on the loss and the gradient norm of a step. They have the same bits on all
    /// ranks, so the decisions agree.
    pub(crate) fn judge(&mut self, loss_and_norm: [f32; 2], lr: f64) -> StepOutcome {
        let step = self.progress.step + 1;
        let [loss, grad_norm] = distort(&self.faults, self.planned_step(step), loss_and_norm);
        let numbers = StepMetrics { step, loss, grad_norm };
        let verdict = self.guard.judge(&numbers);
        self.guard.record(&numbers, &verdict);
        StepOutcome { loss, grad_norm, lr: lr * self.guard.lr_factor(step), verdict }
    }

    /// Returns the step that trains on the first row of `step` in a run without skipped rows.
    fn planned_step(&self, step: u64) -> u64 {
        let planned = RowSchedule::without_skips(self.recipe.train.global_batch_size);
        planned.step_of(self.rows.first_row_of(step))
    }

    /// Returns the loss `[1]` and the gradients of each micro-batch, weighted so that they sum to those of
    /// the whole batch. All of them are still on the device.
    pub(crate) fn micro_batches(
        &self,
        rows: &[Row],
        weights: &[f32],
    ) -> impl Iterator<Item = (Tensor<1>, GradientSum)> {
        let model = self.model();
        let micro_batch_size = self.recipe.train.micro_batch_size;
        rows.chunks(micro_batch_size).zip(weights.chunks(micro_batch_size * self.recipe.seq_len)).map(
            move |(rows, weights)| {
                let batch = MicroBatch::new(rows, weights, self.recipe.document_mask, &model.device());
                let hidden_btd = model.hidden(batch.tokens_bt, &Positions::Sequential, &batch.attention_mask);
                let hidden_nd = hidden_btd.flatten(0, 1);
                let loss = cross_entropy(hidden_nd, model.lm_head(), batch.targets_n, batch.weights_n);
                let gradients = GradientSum::from_backward(model, loss.backward());
                (loss.inner(), gradients)
            },
        )
    }

    /// Zeroes the gradient of the frozen embedding row, if there is one.
    pub(crate) fn freeze(&self, gradients: &mut GradientSum) {
        if let Some(row) = self.recipe.frozen_row {
            gradients.freeze_embedding_row(row, self.model().config().hidden_size);
        }
    }

    /// Applies the gradients. `grad_norm` is their norm before clipping.
    pub(crate) fn update(&mut self, gradients: GradientSum, grad_norm: f32, lr: f64) {
        let model = self.model.take().expect("the model is only absent during an update");
        self.model = Some(self.optimizer.update(model, gradients, f64::from(grad_norm), lr));
    }

    /// Returns the weights without autodiff and the optimizer. They share memory with the live ones until
    /// those change.
    pub(crate) fn snapshot(&self) -> (Llama, AdamW) {
        (self.model().valid(), self.optimizer.clone())
    }
}

/// Reads the loss and the gradient norm in one transfer. The norm of no gradients is 0.
fn read_metrics(loss: Tensor<1>, grad_norm: Option<Tensor<1>>) -> [f32; 2] {
    let grad_norm = grad_norm.unwrap_or_else(|| loss.zeros_like());
    let both: Vec<f32> = Tensor::cat(vec![loss, grad_norm], 0).into_data().iter::<f32>().collect();
    [both[0], both[1]]
}

#[cfg(test)]
#[allow(clippy::float_cmp, reason = "where a value is compared, it is exact")]
mod tests {
    use fineline_ranks::SingleRank;

    use super::*;
    use crate::LossReduction;
    use crate::testing::{optimizer_bits, recipe, rows_of_step, trainer, weight_bits};

    fn with_micro_batch(micro_batch_size: usize, loss: LossReduction) -> TrainingRecipe {
        TrainingRecipe { train: TrainConfig { micro_batch_size, loss, ..recipe().train }, ..recipe() }
    }

    #[test]
    fn accumulated_gradients_equal_those_of_the_whole_batch() {
        for loss in [LossReduction::TokenMean, LossReduction::SequenceMean] {
            let [whole, halves, rows] = [8, 4, 1].map(|micro_batch_size| {
                let mut trainer = trainer(with_micro_batch(micro_batch_size, loss));
                (1..=5)
                    .map(|step| trainer.step(&rows_of_step(step), &SingleRank).unwrap())
                    .collect::<Vec<_>>()
            });
            for parts in [halves, rows] {
                for (whole, part) in whole.iter().zip(parts) {
                    assert!((whole.loss - part.loss).abs() < 1e-5 * whole.loss, "{whole:?}, {part:?}");
                    assert!(
                        (whole.grad_norm - part.grad_norm).abs() < 1e-4 * whole.grad_norm,
                        "{whole:?}, {part:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn reductions_differ_where_masks_are_uneven() {
        let loss =
            |loss| trainer(with_micro_batch(4, loss)).step(&rows_of_step(1), &SingleRank).unwrap().loss;
        assert!((loss(LossReduction::TokenMean) - loss(LossReduction::SequenceMean)).abs() > 1e-3);
    }

    #[test]
    fn a_step_at_learning_rate_zero_changes_only_the_optimizer_state() {
        let mut trainer = trainer(recipe());
        let before = weight_bits(trainer.model());
        let outcome = trainer.step(&rows_of_step(1), &SingleRank).unwrap();
        assert_eq!((outcome.lr, outcome.verdict), (0.0, GuardVerdict::default()));
        assert_eq!(weight_bits(trainer.model()), before);
        assert_eq!(optimizer_bits(&trainer).len(), before.len());
        assert_eq!(trainer.progress(), TrainingProgress { step: 1, tokens: 48, consecutive_skips: 0 });
    }

    /// A trainer after three steps, and the loss and gradients of a fourth.
    fn before_update() -> (Trainer, Tensor<1>, GradientSum) {
        let mut trainer = trainer(recipe());
        for step in 1..=3 {
            trainer.step(&rows_of_step(step), &SingleRank).unwrap();
        }
        let rows = rows_of_step(4);
        let batch = BatchTotals { targets: count_targets(&rows), rows: rows.len() };
        let weights = loss_weights(&rows, LossReduction::TokenMean, batch);
        let (losses, gradients): (Vec<_>, Vec<_>) = trainer.micro_batches(&rows, &weights).unzip();
        let gradients = gradients.into_iter().reduce(GradientSum::plus).unwrap();
        (trainer, Tensor::cat(losses, 0).sum(), gradients)
    }

    #[test]
    fn non_finite_gradients_never_reach_the_weights() {
        for (poison, reason) in [
            (f64::NAN, SkipReason::NonFiniteLoss),
            (f64::INFINITY, SkipReason::NonFiniteLoss),
            (f64::NAN, SkipReason::NonFiniteGradient),
            (f64::NEG_INFINITY, SkipReason::NonFiniteGradient),
        ] {
            let (mut trainer, mut loss, mut gradients) = before_update();
            let before = (weight_bits(trainer.model()), optimizer_bits(&trainer), trainer.optimizer.updates);
            match reason {
                SkipReason::NonFiniteLoss => loss = loss.mul_scalar(0.0).add_scalar(poison),
                _ => gradients.poison(poison),
            }
            assert_eq!(trainer.finish_local_step(loss, gradients, 0.1).verdict.skipped, Some(reason));
            assert_eq!(
                (weight_bits(trainer.model()), optimizer_bits(&trainer), trainer.optimizer.updates),
                before
            );
        }
        let (mut trainer, loss, gradients) = before_update();
        let before = weight_bits(trainer.model());
        assert_eq!(trainer.finish_local_step(loss, gradients, 0.1).verdict.skipped, None);
        assert_ne!(weight_bits(trainer.model()), before);
    }

    #[test]
    fn a_batch_without_targets_is_skipped() {
        let mut trainer = trainer(recipe());
        let mut rows = rows_of_step(1);
        for row in &mut rows {
            row.target_mask.fill(false);
        }
        let before = weight_bits(trainer.model());
        let outcome = trainer.step(&rows, &SingleRank).unwrap();
        assert_eq!((outcome.loss, outcome.verdict.skipped), (0.0, Some(SkipReason::NoTargets)));
        assert_eq!(weight_bits(trainer.model()), before);
        assert_eq!(trainer.progress(), TrainingProgress { step: 1, tokens: 48, consecutive_skips: 1 });
        trainer.step(&rows_of_step(2), &SingleRank).unwrap();
        assert_eq!(trainer.progress().consecutive_skips, 0);
    }

    #[test]
    fn rows_that_do_not_fit_change_nothing() {
        let mut trainer = trainer(recipe());
        let mut rows = rows_of_step(1);
        rows[3].tokens[2] = 17;
        let error = trainer.step(&rows, &SingleRank).unwrap_err().to_string();
        assert!(error.starts_with("row 3 of the batch of step 1: token id 17"), "{error}");
        assert_eq!(trainer.progress(), TrainingProgress::default());
    }

    #[test]
    fn a_tied_head_is_trained_once() {
        let config = fineline_model::LlamaConfig { tie_word_embeddings: true, ..crate::testing::config() };
        let mut trainer = Trainer::new(recipe(), config.init(1, &crate::testing::device())).unwrap();
        let losses: Vec<f32> =
            (0..7).map(|_| trainer.step(&rows_of_step(1), &SingleRank).unwrap().loss).collect();
        assert!(losses[6] < losses[0] - 0.1, "{losses:?}");
        assert_eq!(optimizer_bits(&trainer).len(), config.parameters().len());
    }

    #[test]
    fn a_frozen_row_has_no_gradient() {
        let embedding = |trainer: &Trainer| {
            let (name, values) = fineline_model::named_parameters(trainer.model()).swap_remove(0);
            assert_eq!(name, "model.embed_tokens.weight");
            values.iter::<f32>().collect::<Vec<_>>()
        };
        let config = fineline_model::LlamaConfig { pad_token_id: Some(3), ..crate::testing::config() };
        let norms = [None, Some(3)].map(|frozen_row| {
            let model = config.init(1, &crate::testing::device());
            let mut trainer = Trainer::new(TrainingRecipe { frozen_row, ..recipe() }, model).unwrap();
            let norms = (1..=3).map(|step| trainer.step(&rows_of_step(step), &SingleRank).unwrap().grad_norm);
            let norms: Vec<f32> = norms.collect();
            let row = &embedding(&trainer)[3 * 8..4 * 8];
            assert_eq!(row.iter().all(|&value| value == 0.0), frozen_row.is_some());
            norms
        });
        assert!(norms[1][0] < norms[0][0], "its gradient is no part of the norm");
    }
}
