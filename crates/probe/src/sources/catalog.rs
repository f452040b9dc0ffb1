//! Finds suites by name: built-in ones, files, and tasks of lm-evaluation-harness.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fineline_tinyworld::{World, WorldConfig};
use fs_err as fs;
use serde::Deserialize;

use crate::error::ProbeError;
use crate::sources::builtin::in_context;
use crate::sources::builtin::representation::world_task;
use crate::sources::harness;
use crate::sources::suite_content::SuiteContent;
use crate::sources::task_file::read_task;
use crate::tasks::group::{GroupFile, TaskGroup};
use crate::tasks::task::Task;
use fineline_diagnostics::nearest_in_parentheses;

/// Built-in suites.
const BUILTIN: [(&str, SuiteLocation); 3] = [
    ("in_context", SuiteLocation::InContext),
    ("representation", SuiteLocation::Representation),
    ("tinyworld", SuiteLocation::Tinyworld),
];

/// Finds suites by name.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The generated world of the built-in suites `tinyworld` and `representation`.
    pub world: WorldConfig,
    /// Directories of suite and task files. The name of a suite is that of its file without `.toml`.
    pub suite_dirs: Vec<PathBuf>,
    /// Directories in which task files look for data that is not next to them.
    pub data_dirs: Vec<PathBuf>,
}

/// A suite file. Lists task files relative to itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteFile {
    tasks: Vec<PathBuf>,
    /// Absent: one group for each domain with several tasks.
    groups: Option<Vec<GroupFile>>,
}

enum SuiteLocation {
    InContext,
    Representation,
    Tinyworld,
    File(PathBuf),
}

impl Catalog {
    /// The names of all suites, sorted.
    ///
    /// # Errors
    /// [`ProbeError::Io`] if a directory can't be read.
    pub fn names(&self) -> Result<Vec<String>, ProbeError> {
        let mut names = BTreeSet::from(BUILTIN.map(|(name, _)| name.to_owned()));
        for dir in self.suite_dirs.iter().filter(|dir| dir.is_dir()) {
            for entry in fs::read_dir(dir)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "toml") {
                    names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Checks that a suite of this name, or a file at this path, exists. Reads no file.
    ///
    /// # Errors
    /// [`ProbeError::UnknownSuite`] if it doesn't exist.
    pub fn check(&self, name: &str) -> Result<(), ProbeError> {
        self.find(name).map(drop)
    }

    /// Reads the tasks of a built-in suite, or of the suite or task file of this name or path, with all their
    /// items.
    ///
    /// # Errors
    /// [`ProbeError::UnknownSuite`] if it doesn't exist. Otherwise errors of its files: [`ProbeError::Io`],
    /// [`ProbeError::Toml`], [`ProbeError::TaskFile`], [`ProbeError::HarnessTask`], [`ProbeError::Record`],
    /// [`ProbeError::Group`].
    pub fn tasks(&self, name: &str) -> Result<Vec<Task>, ProbeError> {
        self.content(name).map(|content| content.tasks)
    }

    /// Reads the tasks and groups of a suite.
    pub(crate) fn content(&self, name: &str) -> Result<SuiteContent, ProbeError> {
        match self.find(name)? {
            SuiteLocation::InContext => Ok(in_context::tasks().into()),
            SuiteLocation::Representation => Ok(vec![world_task(&self.world)].into()),
            SuiteLocation::Tinyworld => {
                let tasks: Vec<Task> = World::new(&self.world).tasks().iter().map(Task::from).collect();
                Ok(tasks.into())
            }
            SuiteLocation::File(path) => self.read_file(&path),
        }
    }

    /// The file of the suite or task of this name or path. `None` for built-in suites.
    pub(crate) fn file(&self, name: &str) -> Result<Option<PathBuf>, ProbeError> {
        Ok(match self.find(name)? {
            SuiteLocation::File(path) => Some(path),
            _ => None,
        })
    }

    fn find(&self, name: &str) -> Result<SuiteLocation, ProbeError> {
        if let Some((_, found)) = BUILTIN.into_iter().find(|(builtin, _)| *builtin == name) {
            return Ok(found);
        }
        let candidates = self.suite_dirs.iter().map(|dir| dir.join(format!("{name}.toml")));
        let as_path = Path::new(name).extension().map(|_| PathBuf::from(name));
        if let Some(path) = as_path.into_iter().chain(candidates).find(|path| path.is_file()) {
            return Ok(SuiteLocation::File(path));
        }
        let known = self.names()?;
        let hint = nearest_in_parentheses(name, known.iter().map(String::as_str));
        Err(ProbeError::UnknownSuite { name: name.to_owned(), known, dirs: self.suite_dirs.clone(), hint })
    }

    /// Reads a file. A suite file has the key `tasks`. Other TOML files are tasks, and YAML files are tasks
    /// or groups of lm-evaluation-harness. Each of them is a suite by itself.
    fn read_file(&self, path: &Path) -> Result<SuiteContent, ProbeError> {
        let wrong =
            |source: toml::de::Error| ProbeError::Toml { path: path.to_owned(), source: source.into() };
        if is_yaml(path) {
            return harness::read_suite(path, &self.data_dirs);
        }
        let text = fs::read_to_string(path)?;
        let table: toml::Table = toml::from_str(&text).map_err(wrong)?;
        if !table.contains_key("tasks") {
            return Ok(vec![read_task(path, &text, &self.data_dirs)?].into());
        }
        let suite: SuiteFile = toml::from_str(&text).map_err(wrong)?;
        if suite.tasks.is_empty() {
            return Err(ProbeError::TaskFile {
                path: path.to_owned(),
                key: "tasks",
                message: "expected at least one task file".into(),
            });
        }
        let dir = path.parent().unwrap_or(Path::new(""));
        let mut tasks = Vec::new();
        for path in suite.tasks.iter().map(|task| dir.join(task)) {
            if is_yaml(&path) {
                tasks.extend(harness::read_suite(&path, &self.data_dirs)?.tasks);
            } else {
                tasks.push(read_task(&path, &fs::read_to_string(&path)?, &self.data_dirs)?);
            }
        }
        let groups = suite.groups.map(|groups| TaskGroup::declared(path, groups, &tasks)).transpose()?;
        Ok(SuiteContent { tasks, groups })
    }
}

/// Whether it is a task or group file of lm-evaluation-harness.
fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::group::GroupMean;

    const TASK: &str = r#"
        name = "NAME"
        domain = "d"
        kind = "greedy_match"
        data = "t.jsonl"
        context = "{{c}}"
        choices = ["{{a}}"]
    "#;

    fn catalog(files: &[(&str, &str)]) -> (tempfile::TempDir, Catalog) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let catalog = Catalog {
            suite_dirs: vec![dir.path().join("probes"), dir.path().join("absent")],
            data_dirs: vec![dir.path().join("data")],
            ..Catalog::default()
        };
        (dir, catalog)
    }

    #[test]
    fn suites_are_found_by_name_and_by_path() {
        let (dir, catalog) = catalog(&[
            ("probes/early.toml", "tasks = [\"tasks/a.toml\", \"tasks/b.toml\"]"),
            ("probes/tasks/a.toml", &TASK.replace("NAME", "a")),
            ("probes/tasks/b.toml", &TASK.replace("NAME", "b")),
            ("probes/single.toml", &TASK.replace("NAME", "single")),
            ("data/t.jsonl", "{\"c\":\"x\",\"a\":\"y\"}"),
        ]);
        assert_eq!(
            catalog.names().unwrap(),
            ["early", "in_context", "representation", "single", "tinyworld"]
        );
        let names = |suite: &str| -> Vec<String> {
            catalog.tasks(suite).unwrap().into_iter().map(|task| task.name).collect()
        };
        assert_eq!(names("early"), ["a", "b"]);
        assert_eq!(names("single"), ["single"]);
        assert_eq!(names(dir.path().join("probes/tasks/a.toml").to_str().unwrap()), ["a"]);
    }

    #[test]
    fn builtin_suites_need_no_files() {
        for (suite, least) in [("tinyworld", 10), ("in_context", 4), ("representation", 1)] {
            let tasks = Catalog::default().tasks(suite).unwrap();
            assert!(tasks.len() >= least);
            for task in &tasks {
                task.check().unwrap();
            }
        }
    }

    #[test]
    fn unknown_suites_are_refused_with_the_nearest() {
        let (_dir, catalog) = catalog(&[("probes/early.toml", "")]);
        let error = catalog.check("tinywrold").unwrap_err().to_string();
        let dirs = [&catalog.suite_dirs[0], &catalog.suite_dirs[1]].map(|dir| dir.display().to_string());
        let expected = format!(
            "unknown probe suite `tinywrold` (did you mean `tinyworld`?): expected one of early, \
             in_context, representation, tinyworld (searched {})",
            dirs.join(", ")
        );
        assert_eq!(error, expected);
        assert!(!catalog.check("something/else.toml").unwrap_err().to_string().contains("did you mean"));
        assert!(catalog.check("early").is_ok());
    }

    #[test]
    fn a_suite_file_may_declare_groups() {
        let (_dir, catalog) = catalog(&[
            ("probes/silent.toml", "tasks = [\"a.toml\", \"b.toml\"]"),
            ("probes/none.toml", "tasks = [\"a.toml\", \"b.toml\"]\ngroups = []"),
            (
                "probes/both.toml",
                "tasks = [\"a.toml\", \"b.toml\"]\n[[groups]]\nname = \"both\"\nmean = \"tasks\"",
            ),
            ("probes/wrong.toml", "tasks = [\"a.toml\", \"b.toml\"]\n[[groups]]\nname = \"a\""),
            ("probes/a.toml", &TASK.replace("NAME", "a")),
            ("probes/b.toml", &TASK.replace("NAME", "b")),
            ("data/t.jsonl", "{\"c\":\"x\",\"a\":\"y\"}"),
        ]);
        assert_eq!(catalog.content("silent").unwrap().groups, None);
        assert_eq!(catalog.content("none").unwrap().groups, Some(vec![]));
        let tasks = vec!["a".to_owned(), "b".to_owned()];
        let both = TaskGroup { name: "both".into(), tasks, mean: GroupMean::Tasks };
        assert_eq!(catalog.content("both").unwrap().groups, Some(vec![both]));
        assert!(catalog.content("wrong").unwrap_err().to_string().contains("wrong.toml: group `a`"));
    }

    #[test]
    fn broken_suite_files_are_named() {
        let (_dir, catalog) = catalog(&[
            ("probes/none.toml", "tasks = []"),
            ("probes/typo.toml", "tasks = [\"a.toml\"]\ntask = 1"),
            ("probes/broken.toml", "tasks = ["),
            ("probes/missing.toml", "tasks = [\"a.toml\"]"),
        ]);
        for (name, expected) in [
            ("none", "none.toml: `tasks`: expected at least one"),
            ("typo", "unknown field `task`"),
            ("broken", "broken.toml: TOML parse error at line 1"),
            ("missing", "a.toml"),
        ] {
            let error = catalog.tasks(name).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
