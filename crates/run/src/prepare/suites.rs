//! The suites of `[[probes]]` tables: found, checked and loaded.

use std::collections::BTreeSet;
use std::path::PathBuf;

use fineline_data::Tokenizer;
use fineline_diagnostics::choice_hint;
use fineline_model::LlamaConfig;
use fineline_probe::{Catalog, ProbeConfig, Suite, SuiteOptions, TaskGroup, TaskSource};
use fineline_tinyworld::WorldConfig;

use crate::config::Resolved;
use crate::error::RunError;

/// World, tokenizer and model that suites are loaded for.
pub(crate) struct SuiteContext<'a> {
    pub(crate) world: &'a WorldConfig,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) model: &'a LlamaConfig,
    /// Data directories, in addition to that of the `[[probes]]` table.
    pub(crate) data: &'a [PathBuf],
}

/// Directory of suite and task files, relative to the working directory.
const SUITES: &str = "configs/probes";

/// Returns the catalog of a `[[probes]]` table.
fn catalog(world: &WorldConfig, probes: &ProbeConfig) -> Catalog {
    Catalog {
        world: world.clone(),
        suite_dirs: vec![PathBuf::from(SUITES)],
        data_dirs: probes.data_dir.iter().cloned().collect(),
    }
}

/// Returns where the data of a suite's tasks can be downloaded from.
///
/// # Errors
/// A suite that doesn't exist, or whose files can't be read.
pub fn suite_sources(suite: &str) -> Result<Vec<TaskSource>, RunError> {
    Ok(catalog(&WorldConfig::default(), &ProbeConfig::all(suite)).sources(suite)?)
}

/// Refuses unknown suites and tasks before anything takes time.
pub(super) fn check_suites(resolved: &Resolved) -> Result<(), RunError> {
    let config = &resolved.config;
    for (index, probes) in config.probes.iter().enumerate() {
        let catalog = catalog(&config.tinyworld, probes);
        if let Err(error) = catalog.check(&probes.suite) {
            return Err(resolved.invalid(&format!("probes[{index}].suite"), error.to_string()).into());
        }
        if let Some(message) = unknown_task(&catalog, probes)? {
            return Err(resolved.invalid(&format!("probes[{index}].tasks"), message).into());
        }
    }
    Ok(())
}

/// Describes the first task that a `[[probes]]` table names and its suite doesn't have.
fn unknown_task(catalog: &Catalog, probes: &ProbeConfig) -> Result<Option<String>, RunError> {
    if probes.tasks.is_empty() {
        return Ok(None);
    }
    let tasks = catalog.tasks(&probes.suite)?;
    let known: Vec<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
    let unknown = probes.tasks.iter().find(|name| !known.contains(&name.as_str()));
    Ok(unknown.map(|name| {
        let (suite, hint) = (&probes.suite, choice_hint(name, &known));
        format!("suite `{suite}` has no task `{name}`{hint}")
    }))
}

/// Loads the suites of `[[probes]]` tables, for a run or a single evaluation. Logs identify a group by its
/// name, so only the first of several groups with the same name is kept.
pub(crate) fn load_suites(
    context: &SuiteContext<'_>,
    tables: &[ProbeConfig],
) -> Result<Vec<Suite>, RunError> {
    let suites = tables.iter().map(|table| load_suite(context, table)).collect::<Result<Vec<_>, _>>()?;
    let mut names: BTreeSet<String> =
        suites.iter().flat_map(Suite::tasks).map(|task| task.name.clone()).collect();
    let mut with_own_groups = |suite: Suite| {
        let (own, taken): (Vec<TaskGroup>, Vec<TaskGroup>) =
            suite.groups().iter().cloned().partition(|group| names.insert(group.name.clone()));
        for group in taken {
            tracing::warn!(
                "group `{}` of suite `{}` is skipped: there is another of this name",
                group.name,
                suite.name()
            );
        }
        suite.with_groups(own)
    };
    Ok(suites.into_iter().map(&mut with_own_groups).collect())
}

fn load_suite(context: &SuiteContext<'_>, probes: &ProbeConfig) -> Result<Suite, RunError> {
    let mut catalog = catalog(context.world, probes);
    catalog.data_dirs.extend_from_slice(context.data);
    let options = SuiteOptions {
        tokenizer: context.tokenizer,
        max_len: context.model.max_position_embeddings,
        limit: probes.limit,
        tasks: &probes.tasks,
        code: probes.code(),
    };
    Ok(Suite::load(&catalog, &probes.suite, options)?)
}

/// Refuses a task that two suites have, because logs identify a task by its name.
pub(super) fn refuse_shared_tasks(resolved: &Resolved, suites: &[Suite]) -> Result<(), RunError> {
    let mut names = BTreeSet::new();
    for (index, suite) in suites.iter().enumerate() {
        if let Some(task) = suite.tasks().find(|task| !names.insert(&task.name)) {
            let message = format!("task `{}` is in an earlier [[probes]] table too", task.name);
            return Err(resolved.invalid(&format!("probes[{index}].tasks"), message).into());
        }
    }
    Ok(())
}
