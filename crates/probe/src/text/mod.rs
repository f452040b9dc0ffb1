//! Text as Python and the MATH benchmark treat it: whitespace, regular expressions, literals, formulas.

// Characters.
pub(crate) mod whitespace;

// Notations.
pub(crate) mod math;
pub(crate) mod pattern;
pub(crate) mod python;
