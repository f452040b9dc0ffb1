//! Chunks of logits, and scores derived from logits.

/// Scores of `n` tokens under a model.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TokenScores {
    /// Log-probability of each token, in nats.
    pub logprob: Vec<f32>,
    /// Whether each token was the most probable one. Of equally probable tokens, only the first counts.
    pub greedy: Vec<bool>,
}

/// Returns the number of tokens whose logits the CPU holds at a time: about a million logits, which fit the
/// caches of most machines, but at least 512 tokens, to amortize a pass over the head and its gradient.
#[must_use]
pub fn logits_chunk(vocab: usize) -> usize {
    ((1 << 20) / vocab).max(512)
}
