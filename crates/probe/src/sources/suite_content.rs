//! The tasks and groups of a suite.

use crate::tasks::group::TaskGroup;
use crate::tasks::task::Task;

/// What a suite asks.
#[derive(Clone, Debug)]
pub(crate) struct SuiteContent {
    pub(crate) tasks: Vec<Task>,
    /// The groups that its file declares, if it says anything of groups.
    pub(crate) groups: Option<Vec<TaskGroup>>,
}

impl From<Vec<Task>> for SuiteContent {
    fn from(tasks: Vec<Task>) -> Self {
        Self { tasks, groups: None }
    }
}
