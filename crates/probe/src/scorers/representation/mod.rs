//! Tasks whose texts are read for the hidden states they give rise to.

// Gram matrices.
pub(crate) mod gram;

// Hidden states.
pub(crate) mod hidden_states;
