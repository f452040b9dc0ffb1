//! From items to tokens: requests, and the batches they are packed into.

pub(crate) mod encoder;
pub(crate) mod in_context;
pub(crate) mod packing;
pub(crate) mod shared_prefix;
