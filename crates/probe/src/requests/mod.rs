//! From items to tokens: requests, and the batches they are packed into.

// Requests.
pub(crate) mod request;

// Tokenization.
pub(crate) mod encoder;

// In-context items.
pub(crate) mod in_context;

// Batches with shared prefixes.
pub(crate) mod shared_prefix;

// Packing of rows and batches.
pub(crate) mod packing;
