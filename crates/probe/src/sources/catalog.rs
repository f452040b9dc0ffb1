use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use fineline_tinyworld::{World, WorldConfig};
use fs_err as fs;
use serde::Deserialize;

use crate::error::{ProbeError, nearest_hint};
use crate::sources::builtin::in_context;
use crate::sources::builtin::representation::world_task;
use crate::sources::harness;
use crate::sources::suite_content::SuiteContent;
use crate::sources::task_file::read_task;
use crate::tasks::group::{GroupFile, TaskGroup};
use crate::tasks::task::Task;

/// Suites that need no files.
const BUILTIN: [(&str, SuiteLocation); 3] = [
    ("in_context", SuiteLocation::InContext),
    ("representation", SuiteLocation::Representation),
    ("tinyworld", SuiteLocation::Tinyworld),
];

/// Where suites are found by their names.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    /// The world that the builtin suite `tinyworld` asks about, and whose texts `representation` is about.
    pub world: WorldConfig,
    /// Folders of suite and task files; a suite's name is its file's, without `.toml`.
    pub suite_dirs: Vec<PathBuf>,
    /// Folders in which task files look for their data when it is not beside them.
    pub data_dirs: Vec<PathBuf>,
}

/// A suite file. Its tasks are those of the task files it lists, relative to itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SuiteFile {
    tasks: Vec<PathBuf>,
    /// Absent: one for each domain of several tasks.
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
    pub fn names(&self) -> Result<Vec<String>, ProbeError> {
        let mut names = BTreeSet::from(BUILTIN.map(|(name, _)| name.to_owned()));
        for folder in self.suite_dirs.iter().filter(|folder| folder.is_dir()) {
            for entry in fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "toml") {
                    names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
                }
            }
        }
        Ok(names.into_iter().collect())
    }

    /// Whether there is a suite of this name, or a file at this path. Nothing is read.
    pub fn check(&self, name: &str) -> Result<(), ProbeError> {
        self.find(name).map(drop)
    }

    /// The tasks of a suite with all their items: those of a builtin suite, or of the suite or task file of this name or path.
    pub fn tasks(&self, name: &str) -> Result<Vec<Task>, ProbeError> {
        self.content(name).map(|content| content.tasks)
    }

    /// Tasks and groups of the same.
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

    /// The file of the suite or task of this name or path; none for what is built in.
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
        let places = self.suite_dirs.iter().map(|folder| folder.join(format!("{name}.toml")));
        let as_path = Path::new(name).extension().map(|_| PathBuf::from(name));
        if let Some(path) = as_path.into_iter().chain(places).find(|path| path.is_file()) {
            return Ok(SuiteLocation::File(path));
        }
        let known = self.names()?;
        let hint = nearest_hint(name, known.iter().map(String::as_str));
        Err(ProbeError::UnknownSuite { name: name.to_owned(), known, folders: self.suite_dirs.clone(), hint })
    }

    /// A suite file has `tasks`; anything else should be a task, or in YAML a task or group of lm-evaluation-harness, which is then a suite of its own.
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
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut tasks = Vec::new();
        for path in suite.tasks.iter().map(|task| folder.join(task)) {
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
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let catalog = Catalog {
            suite_dirs: vec![folder.path().join("probes"), folder.path().join("absent")],
            data_dirs: vec![folder.path().join("data")],
            ..Catalog::default()
        };
        (folder, catalog)
    }

    #[test]
    fn suites_are_found_by_name_and_by_path() {
        let (folder, catalog) = catalog(&[
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
        assert_eq!(names(folder.path().join("probes/tasks/a.toml").to_str().unwrap()), ["a"]);
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
        let (_folder, catalog) = catalog(&[("probes/early.toml", "")]);
        let error = catalog.check("tinywrold").unwrap_err().to_string();
        let folders =
            [&catalog.suite_dirs[0], &catalog.suite_dirs[1]].map(|folder| folder.display().to_string());
        let expected = format!(
            "unknown probe suite `tinywrold` (did you mean `tinyworld`?); known are early, in_context, representation, tinyworld (files were looked for in {})",
            folders.join(", ")
        );
        assert_eq!(error, expected);
        assert!(!catalog.check("something/else.toml").unwrap_err().to_string().contains("did you mean"));
        assert!(catalog.check("early").is_ok());
    }

    #[test]
    fn a_suite_file_may_declare_groups() {
        let (_folder, catalog) = catalog(&[
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
        let (_folder, catalog) = catalog(&[
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
