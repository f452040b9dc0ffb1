//! One module per kind of finding.

// Structure of a crate
pub(crate) mod circles;
pub(crate) mod closures;
pub(crate) mod files;
pub(crate) mod imports;
pub(crate) mod layers;
pub(crate) mod type_names;

// Text of a file
pub(crate) mod dependencies;
pub(crate) mod english;
pub(crate) mod width;

// Documentation
pub(crate) mod docs;
