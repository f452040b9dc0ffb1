//! Crash-safe file operations: a file or directory is either complete or absent, also after a kill or a power
//! failure.
//!
//! A file is written next to its destination under a name that starts with [`TEMPORARY_PREFIX`], synced and
//! renamed. Then the parent directory is synced. A reader sees either the old content or the new content,
//! never a mixture.
//!
//! - [`write_atomically`] writes bytes this way, [`AtomicFile`] a stream, and [`AtomicDirectory`] a directory
//!   of files.
//! - [`write_synced`], [`sync_directory`] and [`rename`] are the single steps.
//! - [`replace_symlink`] creates or replaces a symbolic link.
//! - [`create_directory`] and [`create_parent_directory`] create directories durably.
//! - [`remove_temporary_files`] removes what a killed process left behind.
//! - [`free_space`] returns the free disk space.
//!
//! This crate doesn't depend on what the files contain.

// Ground: disk space and single durable steps.
mod durable;
mod space;

// Replacement of files, directories and links.
mod atomic;
mod symlink;

pub use atomic::{AtomicDirectory, AtomicFile, remove_temporary_files, write_atomically};
pub use durable::{
    TEMPORARY_PREFIX, create_directory, create_parent_directory, rename, sync_directory, write_synced,
};
pub use space::free_space;
pub use symlink::replace_symlink;
