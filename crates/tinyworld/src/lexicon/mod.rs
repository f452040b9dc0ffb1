//! The words of the world, as tables.

pub(crate) mod invented;
pub(crate) mod people;
pub(crate) mod places;
pub(crate) mod things;
