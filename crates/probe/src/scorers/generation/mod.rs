//! Tasks with generated answers: generation, filters, comparison with the accepted answers, execution of
//! programs.

// Whether an answer is correct.
pub(crate) mod answer_matching;
pub(crate) mod sandbox;

// Extraction of what is judged.
pub(crate) mod filters;

// Generation, filters and judgement together.
pub(crate) mod answer_writer;
