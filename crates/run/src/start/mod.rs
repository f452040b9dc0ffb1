//! The state that training starts from, and differences from the last start.

// What the caller requests, and has downloaded.
pub(crate) mod fetched_weights;
pub(crate) mod resume;

// What is available.
pub(crate) mod changes;
pub(crate) mod download;
pub(crate) mod released;

// The choice.
pub(crate) mod resume_point;

// The state of the trainer, or a check without it.
mod check;
pub(crate) mod initial_state;

pub use check::check;
pub use fetched_weights::FetchedWeights;
pub use resume::ResumeRequest;
