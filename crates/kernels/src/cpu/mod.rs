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

// Memory, and loops over it.
mod buffer;
mod matmul;
mod tensor;
mod vector;

// What an operation is.
mod operation;

// The operations.
mod adamw;
mod add;
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

// The way in for tensors of any backend.
mod extension;

pub(crate) use adamw::{adamw, add_to, sum_of_squares};
pub(crate) use attention::attention_with_prefix;
pub(crate) use extension::CpuKernels;
pub use tensor::is_in_host_memory;
pub(crate) use tensor::supports;
pub(crate) use token_logprobs::token_logprobs;
