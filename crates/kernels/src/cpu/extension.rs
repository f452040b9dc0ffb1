//! The Burn backend extension through which tensors reach the CPU operations, with and without autodiff.

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Autodiff, Backend, Flex, backend_extension};

use super::add::Add;
use super::attention::Attention;
use super::cross_entropy::CrossEntropy;
use super::embedding::Embedding;
use super::feed_forward::FeedForward;
use super::linear::Linear;
use super::operation::{CpuOp, record};
use super::rms_norm::RmsNorm;
use super::rope::Rope;
use super::self_attention::SelfAttention;
use super::swiglu::SwiGlu;
use super::tensor::CpuTensor;
use crate::attention_mask::AttentionMask;
use crate::precision::{Numerics, Precision};

/// The operations as an extension of Burn's backends.
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
        mask: AttentionMask,
        precision: Precision,
    ) -> FloatTensor<Self>;
    /// See [`swiglu`](crate::swiglu).
    fn swiglu(gate: FloatTensor<Self>, up: FloatTensor<Self>) -> FloatTensor<Self>;
    /// See [`self_attention`](crate::self_attention). The weights of queries, keys, values and output are
    /// `[out, in]`.
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
        mask: AttentionMask,
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
        mask: AttentionMask,
        precision: Precision,
    ) -> CpuTensor {
        Attention { mask, precision }.forward([q, k, v])
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
        mask: AttentionMask,
        numerics: Numerics,
    ) -> CpuTensor {
        SelfAttention::new(cos, sin, mask, numerics).forward([x, norm, q, k, v, out])
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
        mask: AttentionMask,
        precision: Precision,
    ) -> FloatTensor<Self> {
        record::<C, _, 3>(&Attention { mask, precision }, [q, k, v])
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
        mask: AttentionMask,
        numerics: Numerics,
    ) -> FloatTensor<Self> {
        let op = SelfAttention::new(cos.into_primitive(), sin.into_primitive(), mask, numerics);
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
