//! The interface of an operation with its own backward pass, and its registration in the autodiff graph.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};

use super::tensor::CpuTensor;

/// A tensor in an autodiff graph.
pub(super) type AutodiffTensor<C> = FloatTensor<Autodiff<Flex, C>>;

/// An operation on `N` tensors that computes its own gradients. Its fields are its other arguments.
pub(super) trait CpuOp<const N: usize>: Clone + Debug + Send + 'static {
    /// State that the backward pass needs.
    type Saved: Clone + Debug + Send;

    /// Returns the result. Called if no gradient is needed.
    fn forward(&self, inputs: [CpuTensor; N]) -> CpuTensor {
        self.forward_saving(inputs).0
    }

    /// Returns the result, and the state that the backward pass needs.
    fn forward_saving(&self, inputs: [CpuTensor; N]) -> (CpuTensor, Self::Saved);

    /// Returns the gradients of the inputs, given the gradient of the result.
    fn backward(&self, saved: Self::Saved, gradient: CpuTensor) -> [CpuTensor; N];
}

/// Runs an operation and registers it in the autodiff graph.
pub(super) fn record<C: CheckpointStrategy, Op: CpuOp<N>, const N: usize>(
    op: &Op,
    inputs: [AutodiffTensor<C>; N],
) -> AutodiffTensor<C> {
    let nodes = inputs.each_ref().map(AutodiffTensor::<C>::node);
    let inputs = inputs.map(AutodiffTensor::<C>::into_primitive);
    match AutodiffStep(op.clone()).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = op.forward_saving(inputs);
            prepared.finish(saved, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(op.forward(inputs)),
    }
}

/// The backward step of an operation in the autodiff graph.
#[derive(Debug)]
struct AutodiffStep<Op>(Op);

impl<Op: CpuOp<N>, const N: usize> Backward<Flex, N> for AutodiffStep<Op> {
    type State = Op::Saved;

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = gradients.consume::<Flex>(&ops.node);
        for (parent, gradient) in ops.parents.iter().zip(self.0.backward(ops.state, gradient)) {
            if let Some(parent) = parent {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}
