//! The tensor operations a LLaMA is made of.
//!
//! Each operation is one function over [`burn::tensor::Tensor`] and one module: [`linear`], [`embedding`], [`rms_norm`],
//! [`rope`], [`attention`], [`swiglu`], [`add`], [`cross_entropy`], [`token_logprobs`], [`attention_with_prefix`], and for gradients [`add_to`], [`sum_of_squares`], [`adamw`], [`all_reduce()`]. Activations keep time before heads
//! (`[batch, time, heads, head_dim]`), and weights the layout that checkpoints store (`[out, in]`), so nothing is
//! transposed between them.
//!
//! Each has a portable body in Burn operations, which any backend and Burn's own autodiff can run, and a fast body for the
//! CPU with its own backward pass (the `cpu` module), which takes over where tensors are in the CPU's memory.
//!
//! Norms, softmax, logits and losses are computed in float32, whatever the [`Precision`] of the other products. Sums are made in a fixed order, so that the same call
//! gives the same bits.
//!
//! This crate knows nothing of parameters, layers or models: those are in `fineline-model`.

// Types of arguments and results.
mod adamw_factors;
mod attention_mask;
mod logits;
mod precision;

// Threads.
mod pool;

// The bodies for the CPU.
mod cpu;

// The operations, with their portable bodies.
mod adamw;
mod add;
mod all_reduce;
mod attention;
mod cross_entropy;
mod embedding;
mod feed_forward;
mod linear;
mod rms_norm;
mod rope;
mod self_attention;
mod swiglu;
mod token_logprobs;

#[cfg(test)]
mod testing;

pub use adamw::{adamw, add_to, sum_of_squares};
pub use adamw_factors::AdamW;
pub use add::add;
pub use all_reduce::{all_reduce, has_all_reduce};
pub use attention::{attention, attention_with_prefix};
pub use attention_mask::{AttentionMask, KeySpan};
pub use cpu::is_in_host_memory;
pub use cross_entropy::cross_entropy;
pub use embedding::embedding;
pub use feed_forward::{FeedForwardWeights, feed_forward};
pub use linear::linear;
pub use logits::{TokenScores, logits_chunk};
pub use pool::in_pool;
pub use precision::{Numerics, Precision};
pub use rms_norm::rms_norm;
pub use rope::{RotaryTable, rope};
pub use self_attention::{SelfAttentionWeights, self_attention};
pub use swiglu::swiglu;
pub use token_logprobs::token_logprobs;
