//! Scorers: log-likelihoods of continuations, generated answers, and hidden states.

// Shared by all scorers.
pub(crate) mod rank_share;

// One module per way of scoring.
pub(crate) mod generation;
pub(crate) mod loglikelihood;
pub(crate) mod representation;
