//! Tensor operations of LLaMA models.
//!
//! Each operation is one function over [`burn::tensor::Tensor`], in a module of its own.
//!
//! - Layers: [`linear`], [`embedding`], [`rms_norm`], [`rope`], [`attention`], [`attention_with_prefix`],
//!   [`swiglu`], [`add`], and the fused blocks [`self_attention`] and [`feed_forward`].
//! - Outputs: [`cross_entropy`], [`token_logprobs`].
//! - Gradients: [`add_to`], [`sum_of_squares`], [`adamw`], [`all_reduce()`].
//!
//! Each has a portable body in Burn operations, which any backend and Burn's own autodiff can run. Tensors in
//! the CPU's memory take a faster body with its own backward pass (the `cpu` module).
//!
//! # Shapes
//!
//! The name of a tensor may end in its shape, one letter per dimension: `q_bthe`. The letters mean the same
//! in all crates:
//!
//! | letter | dimension |
//! |---|---|
//! | `b` | batch: rows |
//! | `t` | tokens of a row; in attention, queries |
//! | `s` | keys of a row |
//! | `n` | tokens of all rows, or the values of a flat vector |
//! | `d` | hidden size |
//! | `h` | query heads |
//! | `k` | key-value heads |
//! | `g` | query heads per key-value head |
//! | `e` | head size (`head_dim`) |
//! | `f` | intermediate size of the feed-forward block |
//! | `v` | vocabulary |
//! | `i`, `o` | inputs and outputs of a linear layer |
//!
//! Activations are `[batch, tokens, heads, head_dim]`, and weights are `[out, in]` as checkpoints store them,
//! so nothing is transposed between operations.
//!
//! # Numerics
//!
//! Norms, softmax, logits and losses are computed in float32, whatever the [`Precision`] of the other
//! matmuls. Sums are computed in a fixed order, so that the same call gives the same bits.
//!
//! This crate knows nothing of parameters, layers or models, which are in `fineline-model`.

// Types of arguments and results.
mod adamw_factors;
mod attention_mask;
mod logits;
mod precision;

// Threads.
mod pool;

// CPU bodies of the operations.
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
