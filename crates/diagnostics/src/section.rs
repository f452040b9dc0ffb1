//! The protocol by which sections of a configuration check themselves.

use std::fmt::Debug;

use crate::key::Key;
use crate::problem::{Problem, Problems};

/// A section of the configuration that checks itself.
pub trait ConfigSection {
    /// Reports every value that is out of its range or contradicts another value of this section. No file is
    /// read.
    fn check(&self, checker: &mut Checker<'_>);

    /// Checks the section by itself, under the name that it has in the configuration (or `""`, if it isn't
    /// part of one).
    ///
    /// # Errors
    /// All problems that [`check`](Self::check) reports.
    fn validate(&self, name: &str) -> Result<(), Problems> {
        let mut problems = Problems::default();
        let at = if name.is_empty() { Key::default() } else { Key::default().field(name) };
        self.check(&mut Checker::new(at, &mut problems));
        problems.into_result()
    }
}

/// Collects the problems of one section, whose keys it completes.
#[derive(Debug)]
pub struct Checker<'a> {
    at: Key,
    problems: &'a mut Problems,
}

impl<'a> Checker<'a> {
    /// A checker of the section at `at` that adds to `problems`.
    #[must_use]
    pub fn new(at: Key, problems: &'a mut Problems) -> Self {
        Self { at, problems }
    }

    /// The key of a field of this section.
    #[must_use]
    pub fn key(&self, field: &str) -> Key {
        self.at.field(field)
    }

    /// Reports `value` of `field` unless `holds`.
    pub fn require(&mut self, holds: bool, field: &str, value: impl Debug, message: impl Into<String>) {
        if !holds {
            self.report(field, value, message);
        }
    }

    /// Reports `value` of `field`.
    pub fn report(&mut self, field: &str, value: impl Debug, message: impl Into<String>) {
        self.push(Problem::new(self.key(field), message).with_value(value));
    }

    /// Adds a problem.
    pub fn push(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// A checker of the table at `field`.
    #[must_use]
    pub fn nested(&mut self, field: &str) -> Checker<'_> {
        Checker { at: self.at.field(field), problems: self.problems }
    }

    /// A checker of item `index` of the list at `field`.
    #[must_use]
    pub fn item(&mut self, field: &str, index: usize) -> Checker<'_> {
        Checker { at: self.at.field(field).index(index), problems: self.problems }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Inner(u64);

    struct Outer(Vec<Inner>);

    impl ConfigSection for Inner {
        fn check(&self, checker: &mut Checker<'_>) {
            checker.require(self.0 > 0, "steps", self.0, "must be at least 1");
        }
    }

    impl ConfigSection for Outer {
        fn check(&self, checker: &mut Checker<'_>) {
            for (index, inner) in self.0.iter().enumerate() {
                inner.check(&mut checker.item("inner", index));
            }
        }
    }

    #[test]
    fn all_problems_are_reported_with_their_keys() {
        let problems = Outer(vec![Inner(0), Inner(1), Inner(0)]).validate("outer").unwrap_err();
        let keys: Vec<String> = problems.iter().map(|problem| problem.key.to_string()).collect();
        assert_eq!(keys, ["outer.inner[0].steps", "outer.inner[2].steps"]);
        assert_eq!(Inner(0).validate("").unwrap_err().to_string(), "steps = 0: must be at least 1");
    }
}
