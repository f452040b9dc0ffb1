//! Classes of errors.

/// The kind of fault behind an error, and so where the remedy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The command asks for something that doesn't exist or isn't allowed: change the arguments.
    Usage,
    /// The configuration is wrong: change the file or the `--set` argument that the message names.
    Configuration,
    /// Files, devices, the network or other processes aren't as expected: mend those, or try again.
    Environment,
    /// An assumption of the program doesn't hold: report it.
    Internal,
}

/// An error that states its class.
///
/// An enum that wraps the error of a lower crate returns the class of that error.
pub trait Classified: std::error::Error {
    /// The class of this error.
    fn class(&self) -> ErrorClass;
}
