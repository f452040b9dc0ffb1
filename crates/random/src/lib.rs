//! Counter-based randomness: every draw is a function of `(seed, purpose, index)`.
//!
//! Training, data order, initialization and probes need random numbers that must not change when another part
//! of the program draws more or fewer of them. There is therefore no shared generator. A [`Stream`] is
//! addressed by its purpose, and a [`Permutation`] maps an index to a value without storing anything.
//!
//! Both are stable across platforms and versions of this crate, because checkpoints and data orders depend on
//! them.
//!
//! [`PythonRandom`] and [`numpy_permutation`] are exceptions: generators with a state, for draws that must
//! match those of a reference.
//!
//! This crate doesn't depend on how the numbers are used.

// Ground: generators.
mod mersenne;
mod stream;

// Draws on top of them.
mod numpy;
mod permutation;
mod python;

pub use numpy::numpy_permutation;
pub use permutation::Permutation;
pub use python::PythonRandom;
pub use stream::Stream;
