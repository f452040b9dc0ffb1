//! The CPU bodies of the operations: fused loops over the memory of flex tensors, each with its own backward
//! pass.
//!
//! An operation implements `CpuOp`: a forward pass, the state that it saves, and the gradients computed from
//! that state. `CpuKernels` is the Burn backend extension through which tensors reach the operations, with
//! and without autodiff. The portable bodies next to the public functions define what each operation
//! computes, and the tests compare both.
//!
//! Threads share work in blocks whose size depends on the shapes only, and partial sums are added in the
//! order of the blocks. Results therefore don't depend on the number of threads. (Matmuls rely on a library
//! for this. It is tested, but not promised.)

#![allow(
    clippy::inline_always,
    clippy::extra_unused_type_parameters,
    reason = "plain loops are vectorized where they are inlined into the functions of `with_simd`"
)]

// Memory, and loops over it.
mod buffer;
mod matmul;
mod tensor;
mod vector;

// The interface of an operation.
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

// The entry point for tensors of any backend.
mod extension;

pub(crate) use adamw::{adamw, add_to, sum_of_squares};
pub(crate) use attention::attention_with_prefix;
pub(crate) use extension::CpuKernels;
pub use tensor::is_in_host_memory;
pub(crate) use tensor::supports;
pub(crate) use token_logprobs::token_logprobs;
