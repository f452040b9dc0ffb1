//! Errors and configuration problems, as all crates report them.
//!
//! - [`ErrorClass`] says whose fault an error is. Each crate's error enum implements [`Classified`]; exit
//!   codes follow from it.
//! - [`with_causes`] is the message of an error with those of its causes.
//! - [`ConfigSection`] is how a section of the configuration checks itself: it reports each [`Problem`] with
//!   its [`Key`], its value and a remedy.
//! - [`nearest`] finds the name that a misspelled one was meant to be.

// Text: names and addresses.
mod key;
mod suggestion;

// Problems of a configuration.
mod problem;

// A section checks itself.
mod section;

// Errors.
mod causes;
mod class;

pub use causes::with_causes;
pub use class::{Classified, ErrorClass};
pub use key::{Key, KeySegment};
pub use problem::{Problem, Problems};
pub use section::{Checker, ConfigSection};
pub use suggestion::{choice_hint, nearest, nearest_hint, nearest_in_parentheses};
