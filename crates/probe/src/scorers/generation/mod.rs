//! Tasks whose answers the model writes: generation, filters, comparison with the accepted answers, execution of programs.

// When an answer is right.
pub(crate) mod answer_matching;
pub(crate) mod sandbox;

// What is taken from a text.
pub(crate) mod filters;

// Generation, and all of the above in turn.
pub(crate) mod answer_writer;
