//! How many logits are held at a time, and what is kept of them.

/// How a model scored each of `N` tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenScores {
    /// Log-probability of the token, in nats.
    pub logprob: Vec<f32>,
    /// Whether the token was the most probable one (of equal ones, the first).
    pub greedy: Vec<bool>,
}

/// Number of tokens whose logits the CPU holds at a time: a million logits, which stay in the caches of most machines, but at
/// least 512 tokens, so that a pass over the head and its gradient is worth it.
#[must_use]
pub fn logits_chunk(vocab: usize) -> usize {
    ((1 << 20) / vocab).max(512)
}
