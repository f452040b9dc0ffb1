//! From a record to the text of a prompt: preprocessing, templates and few-shot examples.

pub(crate) mod fewshot_draws;
pub(crate) mod fewshot_examples;
pub(crate) mod preprocess;
pub(crate) mod template;
