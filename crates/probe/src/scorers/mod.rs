//! Scorers: log-likelihoods of continuations, written answers, and hidden states.

pub(crate) mod generation;
pub(crate) mod loglikelihood;
pub(crate) mod representation;
