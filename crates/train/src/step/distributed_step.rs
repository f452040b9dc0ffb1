//! A step shared by several ranks: from gradients to new weights.

use burn::tensor::{Tensor, TensorData};
use fineline_data::Row;
use fineline_kernels::in_pool;
use fineline_ranks::Ranks;

use crate::distributed::{
    Division, ParameterGather, TreeNode, TreeSum, reduce, reduce_scatter, sum_losses, sum_within_process,
};
use crate::optim::{GradientSum, ParameterSlice};
use crate::parameters::{parameter_values, update_parameters};
use crate::step::trainer::{StepOutcome, Trainer};

impl Trainer {
    /// A step shared by several ranks. All ranks get the same loss and gradient norm, so their decisions
    /// agree.
    pub(crate) fn step_distributed(
        &mut self,
        rows: &[Row],
        weights: &[f32],
        lr: f64,
        division: &Division,
        ranks: &dyn Ranks,
    ) -> StepOutcome {
        let (losses, mut nodes) = in_pool(|| self.own_gradients(rows, weights, division));
        let loss = sum_losses(&losses, division, ranks);
        if let Some(threads) = ranks.threads().filter(|_| division.sums_within_process()) {
            let own = nodes.pop().map(|node| node.sum).unwrap_or_default();
            let sum = sum_within_process(own, division, threads, &self.model().device().inner());
            if division.sums_within_process_only() {
                return self.update_unless_skipped(loss, broadcast_norm(&sum, ranks), sum, lr);
            }
            nodes.extend(division.leaf_of(ranks.rank()).map(|leaf| TreeNode::leaf(leaf, sum)));
        }
        if division.shards_optimizer_state() {
            let (pieces, norm) = reduce_scatter(nodes, division, ranks);
            let outcome = self.judge([loss, norm as f32], lr);
            if outcome.verdict.skipped.is_none() {
                self.update_owned_slices(pieces, outcome.grad_norm, outcome.lr, division, ranks);
            }
            outcome
        } else {
            let (gradients, norm) = reduce(nodes, division, ranks, &self.model().device().inner());
            self.update_unless_skipped(loss, norm as f32, gradients, lr)
        }
    }

    /// Updates unless the guard skips, with the gradients of the whole batch on every rank.
    fn update_unless_skipped(
        &mut self,
        loss: f32,
        norm: f32,
        gradients: GradientSum,
        lr: f64,
    ) -> StepOutcome {
        let outcome = self.judge([loss, norm], lr);
        if outcome.verdict.skipped.is_none() {
            in_pool(|| self.update(gradients, outcome.grad_norm, outcome.lr));
        }
        outcome
    }

    /// Returns the losses of this rank's micro-batches, and the tree nodes that hold the sums of their
    /// gradients.
    fn own_gradients(
        &self,
        rows: &[Row],
        weights: &[f32],
        division: &Division,
    ) -> (Vec<f32>, Vec<TreeNode<GradientSum>>) {
        let mut losses = Vec::new();
        let mut tree = TreeSum::new(GradientSum::plus);
        let mut sum = GradientSum::default();
        for (leaf, (loss, gradient)) in division.micro_batches().zip(self.micro_batches(rows, weights)) {
            losses.push(loss);
            if division.is_deterministic() {
                tree.push(TreeNode::leaf(leaf, gradient));
            } else {
                sum = sum.plus(gradient);
            }
        }
        let mut nodes = tree.into_nodes();
        if !division.is_deterministic() {
            nodes.push(TreeNode::leaf(division.rank(), sum));
        }
        for node in &mut nodes {
            self.freeze(&mut node.sum);
        }
        (Tensor::cat(losses, 0).into_data().iter::<f32>().collect(), nodes)
    }

    /// Updates the slices of parameters that this rank owns, with the gradients in `pieces`, and gathers the
    /// parameters of all ranks.
    fn update_owned_slices(
        &mut self,
        mut pieces: Vec<Vec<f32>>,
        grad_norm: f32,
        lr: f64,
        division: &Division,
        ranks: &dyn Ranks,
    ) {
        let values = parameter_values(self.model());
        let update = self.optimizer.start_update(f64::from(grad_norm), lr);
        for (piece, bucket) in pieces.iter_mut().zip(division.buckets()) {
            for segment in division.segments(bucket) {
                let spec = &division.parameters()[segment.parameter];
                let whole = values[segment.parameter].clone();
                let device = whole.device();
                let own = &mut piece[segment.in_piece];
                let slice = ParameterSlice {
                    name: &spec.name,
                    dimensions: spec.shape.len(),
                    start: segment.values.start,
                    values: whole.slice(segment.values),
                    gradient: Tensor::from_data(TensorData::from(&*own), &device),
                };
                let updated = in_pool(|| self.optimizer.update_slice(slice, &update)).into_data();
                own.copy_from_slice(
                    updated.convert::<f32>().as_slice().expect("they were just converted to float32"),
                );
            }
        }
        drop(values);
        let model = self.model.take().expect("the model is only absent during an update");
        let mut gathered = ParameterGather::new(pieces, division, ranks);
        self.model = Some(update_parameters(model, |name, _, before| gathered.parameter(name, before)));
    }
}

/// Returns the norm of gradients that all ranks have, as computed by rank 0, so that all ranks use the same
/// bits.
fn broadcast_norm(gradients: &GradientSum, ranks: &dyn Ranks) -> f32 {
    let own = gradients.norm().map_or(0.0, |norm| norm.into_scalar::<f32>());
    ranks.broadcast(Some(own))
}
