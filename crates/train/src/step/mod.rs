//! One optimizer step, from the rows of a global batch to new weights.

// Inputs.
mod batch;
mod recipe;

// The step, in one process and shared by ranks.
mod distributed_step;
mod trainer;

pub use batch::document_spans;
pub use recipe::TrainingRecipe;
pub(crate) use trainer::TrainerState;
pub use trainer::{StepOutcome, Trainer};
