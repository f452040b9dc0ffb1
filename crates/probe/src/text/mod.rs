//! Text in the semantics of Python and of the MATH benchmark: whitespace, regular expressions, literals,
//! formulas.

// Characters.
pub(crate) mod whitespace;

// Notations.
pub(crate) mod math;
pub(crate) mod pattern;
pub(crate) mod python;
