//! What the checks read: files, source lines, modules, and the imports between them.

// Ground
pub(crate) mod finding;
pub(crate) mod repository;
pub(crate) mod text;

// Modules
pub(crate) mod attributes;
pub(crate) mod modules;

// Imports
pub(crate) mod imports;

#[cfg(test)]
pub(crate) mod testing;
