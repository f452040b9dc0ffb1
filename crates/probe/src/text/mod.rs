//! Text as Python and the MATH benchmark treat it: regular expressions, literals, formulas.

pub(crate) mod math;
pub(crate) mod pattern;
pub(crate) mod python;
