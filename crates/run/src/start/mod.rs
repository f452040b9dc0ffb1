//! Where training begins, and what may differ from the last start.

// What the caller asks for, and has found.
pub(crate) mod fetched_weights;
pub(crate) mod resume;

// What there is.
pub(crate) mod changes;
pub(crate) mod download;
pub(crate) mod released;

// Which of it is taken.
pub(crate) mod resume_point;

// The trainer, or a check without one.
mod check;
pub(crate) mod initial_state;

pub use check::check;
pub use fetched_weights::FetchedWeights;
pub use resume::ResumeRequest;
