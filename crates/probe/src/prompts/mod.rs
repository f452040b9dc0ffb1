//! From a record to the text of a prompt: preprocessing, templates and few-shot examples.

// Templates.
pub(crate) mod template;

// Records before they are rendered.
pub(crate) mod preprocess;

// Few-shot examples.
pub(crate) mod fewshot_draws;
pub(crate) mod fewshot_examples;
