//! Counter-based randomness: every draw is a function of `(seed, purpose, index)`.
//!
//! Training, data order, initialization and probes each need random numbers, and none of them may move
//! because another one drew first. So there is no generator to pass around: a [`Stream`] is addressed by what it is
//! for, and a [`Permutation`] maps an index to its place without storing anything.
//!
//! Both are stable across platforms and versions of this crate: checkpoints and data orders rely on it.
//!
//! [`PythonRandom`] and [`numpy_permutation`] are the exceptions: generators with a state, where a reference's own draws must be matched.
//!
//! This crate knows nothing of what the numbers are used for.

mod mersenne;
mod numpy;
mod permutation;
mod python;
mod stream;

pub use numpy::numpy_permutation;
pub use permutation::Permutation;
pub use python::PythonRandom;
pub use stream::Stream;
