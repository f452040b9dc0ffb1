//! Tasks whose hidden states are compared.

// Gram matrices.
pub(crate) mod gram;

// Hidden states.
pub(crate) mod hidden_states;
