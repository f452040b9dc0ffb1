//! The operations' fast bodies for the CPU: fused loops over the memory of flex tensors, each with its own backward.
//!
//! An operation is a [`CpuOp`]: what it computes from tensors, what it saves, and the gradients it makes from that.
//! [`CpuKernels`] is the Burn backend extension through which tensors reach them, with and without autodiff. The portable
//! bodies beside the public functions say what each must compute, and the tests hold them to it.
//!
//! Threads share work in blocks whose size depends on the shapes only, and partial sums are added in the order of the
//! blocks, so that the number of threads has no part in them. (Matrix products are the library's: tested, but not promised.)

#![allow(
    clippy::inline_always,
    clippy::extra_unused_type_parameters,
    reason = "plain loops become vector code by being inlined into the functions that `with_simd` makes per instruction set"
)]

mod adamw;
mod add;
mod attention;
mod buffer;
mod cross_entropy;
mod embedding;
mod feed_forward;
mod linear;
mod product;
mod rms_norm;
mod rope;
mod self_attention;
mod swiglu;
mod token_logprobs;
mod vector;

use std::fmt::Debug;

use burn::{
    backend::{
        Autodiff, Backend, DispatchDevice, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::{FloatTensor, IntTensor},
    },
    tensor::{DType, Device, Shape, Tensor, TensorData},
};

use self::{
    add::Add, attention::Attention, cross_entropy::CrossEntropy, embedding::Embedding,
    feed_forward::FeedForward, linear::Linear, rms_norm::RmsNorm, rope::Rope, self_attention::SelfAttention,
    swiglu::SwiGlu,
};
use crate::{Numerics, Precision, Visibility};

pub(crate) use self::{
    adamw::{adamw, add_to, square_sum},
    attention::attention_after,
    token_logprobs::token_logprobs,
};

/// A tensor in the CPU's memory.
pub(crate) type CpuTensor = FloatTensor<Flex>;

/// Such a tensor in an autodiff graph.
type AutodiffTensor<C> = FloatTensor<Autodiff<Flex, C>>;

/// Whether the CPU bodies can take this tensor: float32, on the flex backend.
pub(crate) fn takes<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && is_in_host_memory(&tensor.device())
}

/// Whether tensors of this device are in the host's memory, as values that can be looked at without a copy.
#[must_use]
pub fn is_in_host_memory(device: &Device) -> bool {
    matches!(device.clone().without_autodiff().as_dispatch(), DispatchDevice::Flex(_))
}

/// The operations, as an extension of Burn's backends.
#[backend_extension(Flex, Autodiff)]
pub(crate) trait CpuKernels: Backend {
    /// See [`linear`](crate::linear).
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, precision: Precision) -> FloatTensor<Self>;
    /// See [`embedding`](crate::embedding).
    fn embedding_rows(weight: FloatTensor<Self>, tokens: IntTensor<Self>) -> FloatTensor<Self>;
    /// See [`rms_norm`](crate::rms_norm).
    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self>;
    /// See [`rope`](crate::rope).
    fn rope(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`attention`](crate::attention).
    fn grouped_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        visibility: Visibility,
        precision: Precision,
    ) -> FloatTensor<Self>;
    /// See [`swiglu`](crate::swiglu).
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`self_attention`](crate::self_attention): queries, keys, values and output have `[out, in]` weights.
    #[allow(clippy::too_many_arguments, reason = "tensors reach a backend one by one")]
    fn self_attention(
        x: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        visibility: Visibility,
        numerics: Numerics,
    ) -> FloatTensor<Self>;
    /// See [`feed_forward`](crate::feed_forward).
    fn feed_forward(
        x: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        down: FloatTensor<Self>,
        numerics: Numerics,
    ) -> FloatTensor<Self>;
    /// See [`add`](crate::add).
    fn add_tensors(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`cross_entropy`](crate::cross_entropy).
    fn cross_entropy(
        hidden: FloatTensor<Self>,
        lm_head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        weights: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl CpuKernels for Flex {
    fn linear(x: CpuTensor, weight: CpuTensor, precision: Precision) -> CpuTensor {
        Linear { precision }.forward([x, weight])
    }

    fn embedding_rows(weight: CpuTensor, tokens: IntTensor<Self>) -> CpuTensor {
        Embedding::new(&tokens).forward([weight])
    }

    fn rms_norm(x: CpuTensor, weight: CpuTensor, eps: f64) -> CpuTensor {
        RmsNorm { eps: eps as f32 }.forward([x, weight])
    }

    fn rope(x: CpuTensor, cos: CpuTensor, sin: CpuTensor) -> CpuTensor {
        Rope { cos, sin }.forward([x])
    }

    fn grouped_attention(
        q: CpuTensor,
        k: CpuTensor,
        v: CpuTensor,
        visibility: Visibility,
        precision: Precision,
    ) -> CpuTensor {
        Attention { visibility, precision }.forward([q, k, v])
    }

    fn swiglu(gate: CpuTensor, up: CpuTensor) -> CpuTensor {
        SwiGlu.forward([gate, up])
    }

    fn self_attention(
        x: CpuTensor,
        norm: CpuTensor,
        q: CpuTensor,
        k: CpuTensor,
        v: CpuTensor,
        out: CpuTensor,
        cos: CpuTensor,
        sin: CpuTensor,
        visibility: Visibility,
        numerics: Numerics,
    ) -> CpuTensor {
        SelfAttention::new(cos, sin, visibility, numerics).forward([x, norm, q, k, v, out])
    }

    fn feed_forward(
        x: CpuTensor,
        norm: CpuTensor,
        gate: CpuTensor,
        up: CpuTensor,
        down: CpuTensor,
        numerics: Numerics,
    ) -> CpuTensor {
        FeedForward::new(numerics).forward([x, norm, gate, up, down])
    }

    fn add_tensors(x: CpuTensor, y: CpuTensor) -> CpuTensor {
        Add.forward([x, y])
    }

    fn cross_entropy(
        hidden: CpuTensor,
        lm_head: CpuTensor,
        targets: IntTensor<Self>,
        weights: CpuTensor,
    ) -> CpuTensor {
        CrossEntropy::new(&targets, &weights).forward([hidden, lm_head])
    }
}

impl<C: CheckpointStrategy> CpuKernels for Autodiff<Flex, C> {
    fn linear(x: FloatTensor<Self>, weight: FloatTensor<Self>, precision: Precision) -> FloatTensor<Self> {
        record::<C, _, 2>(&Linear { precision }, [x, weight])
    }

    fn embedding_rows(weight: FloatTensor<Self>, tokens: IntTensor<Self>) -> FloatTensor<Self> {
        record::<C, _, 1>(&Embedding::new(&tokens), [weight])
    }

    fn rms_norm(x: FloatTensor<Self>, weight: FloatTensor<Self>, eps: f64) -> FloatTensor<Self> {
        record::<C, _, 2>(&RmsNorm { eps: eps as f32 }, [x, weight])
    }

    fn rope(x: FloatTensor<Self>, cos: FloatTensor<Self>, sin: FloatTensor<Self>) -> FloatTensor<Self> {
        record::<C, _, 1>(&Rope { cos: cos.into_primitive(), sin: sin.into_primitive() }, [x])
    }

    fn grouped_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        visibility: Visibility,
        precision: Precision,
    ) -> FloatTensor<Self> {
        record::<C, _, 3>(&Attention { visibility, precision }, [q, k, v])
    }

    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self> {
        record::<C, _, 2>(&SwiGlu, [gate, up])
    }

    fn self_attention(
        x: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        out: FloatTensor<Self>,
        cos: FloatTensor<Self>,
        sin: FloatTensor<Self>,
        visibility: Visibility,
        numerics: Numerics,
    ) -> FloatTensor<Self> {
        let op = SelfAttention::new(cos.into_primitive(), sin.into_primitive(), visibility, numerics);
        record::<C, _, 6>(&op, [x, norm, q, k, v, out])
    }

    fn feed_forward(
        x: FloatTensor<Self>,
        norm: FloatTensor<Self>,
        gate: FloatTensor<Self>,
        up: FloatTensor<Self>,
        down: FloatTensor<Self>,
        numerics: Numerics,
    ) -> FloatTensor<Self> {
        let op = FeedForward::new(numerics);
        record::<C, _, 5>(&op, [x, norm, gate, up, down])
    }

    fn add_tensors(x: FloatTensor<Self>, y: FloatTensor<Self>) -> FloatTensor<Self> {
        record::<C, _, 2>(&Add, [x, y])
    }

    fn cross_entropy(
        hidden: FloatTensor<Self>,
        lm_head: FloatTensor<Self>,
        targets: IntTensor<Self>,
        weights: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        record::<C, _, 2>(&CrossEntropy::new(&targets, &weights.into_primitive()), [hidden, lm_head])
    }
}

/// An operation of `N` tensors that makes its own gradients. Its fields are what it takes besides those tensors.
trait CpuOp<const N: usize>: Clone + Debug + Send + 'static {
    /// What the backward pass needs.
    type Saved: Clone + Debug + Send;

    /// The result, where no gradient will be asked for.
    fn forward(&self, inputs: [CpuTensor; N]) -> CpuTensor {
        self.forward_saving(inputs).0
    }

    /// The result, and what the backward pass needs.
    fn forward_saving(&self, inputs: [CpuTensor; N]) -> (CpuTensor, Self::Saved);

    /// The gradients of the inputs, given that of the result.
    fn backward(&self, saved: Self::Saved, gradient: CpuTensor) -> [CpuTensor; N];
}

/// Runs an operation and notes it in the autodiff graph.
fn record<C: CheckpointStrategy, Op: CpuOp<N>, const N: usize>(
    op: &Op,
    inputs: [AutodiffTensor<C>; N],
) -> AutodiffTensor<C> {
    let nodes = inputs.each_ref().map(AutodiffTensor::<C>::node);
    let inputs = inputs.map(AutodiffTensor::<C>::into_primitive);
    match Recorded(op.clone()).prepare::<C>(nodes).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = op.forward_saving(inputs);
            prepared.finish(saved, output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(op.forward(inputs)),
    }
}

/// The backward step of an operation in the autodiff graph.
#[derive(Debug)]
struct Recorded<Op>(Op);

impl<Op: CpuOp<N>, const N: usize> Backward<Flex, N> for Recorded<Op> {
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

/// The values of a contiguous tensor.
fn values(tensor: &CpuTensor) -> &[f32] {
    let (start, end) = tensor.layout().contiguous_offsets().expect("the tensor was made contiguous");
    &tensor.storage()[start..end]
}

/// A tensor with these values.
fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> CpuTensor {
    CpuTensor::from_data(TensorData::new(values, shape))
}

/// The values of an integer tensor, as indices.
fn indices(tensor: &IntTensor<Flex>) -> Vec<usize> {
    tensor.clone().into_data().iter::<i64>().map(|index| index as usize).collect()
}
