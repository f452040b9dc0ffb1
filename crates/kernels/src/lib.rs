//! The tensor operations a LLaMA is made of.
//!
//! Each operation is one function over [`burn::tensor::Tensor`] and one module: [`linear`], [`embedding`], [`rms_norm`],
//! [`rope`], [`attention`], [`swiglu`], [`cross_entropy`], [`token_logprobs`]. Activations keep time before heads
//! (`[batch, time, heads, head_dim]`), and weights the layout that checkpoints store (`[out, in]`), so nothing is
//! transposed between them.
//!
//! Each has a portable body in Burn operations, which any backend and Burn's own autodiff can run, and a fast body for the
//! CPU with its own backward pass (the `cpu` module), which takes over where tensors are in the CPU's memory.
//!
//! Norms, softmax, logits and losses are computed in float32. Sums are made in a fixed order, so that the same call
//! gives the same bits.
//!
//! This crate knows nothing of parameters, layers or models: those are in `fineline-model`.

mod attention;
mod cpu;
mod cross_entropy;
mod embedding;
mod linear;
mod rms_norm;
mod rope;
mod swiglu;
mod token_logprobs;
mod visibility;

#[cfg(test)]
mod testing;

pub use attention::attention;
pub use cross_entropy::{cross_entropy, logits_chunk};
pub use embedding::embedding;
pub use linear::linear;
pub use rms_norm::rms_norm;
pub use rope::{Rotary, rope};
pub use swiglu::swiglu;
pub use token_logprobs::{TokenScores, token_logprobs};
pub use visibility::{Span, Visibility};
