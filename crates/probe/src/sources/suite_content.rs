//! Tasks and groups of a suite.

use crate::tasks::group::TaskGroup;
use crate::tasks::task::Task;

/// Tasks and groups of a suite.
#[derive(Clone, Debug)]
pub(crate) struct SuiteContent {
    pub(crate) tasks: Vec<Task>,
    /// The groups declared in its file. `None` if the file has no key `groups`.
    pub(crate) groups: Option<Vec<TaskGroup>>,
}

impl From<Vec<Task>> for SuiteContent {
    fn from(tasks: Vec<Task>) -> Self {
        Self { tasks, groups: None }
    }
}
