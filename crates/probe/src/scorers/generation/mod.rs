//! Tasks whose answers the model writes: generation, filters, comparison with the accepted answers, execution of programs.

pub(crate) mod answer_matching;
pub(crate) mod answer_writer;
pub(crate) mod filters;
pub(crate) mod sandbox;
