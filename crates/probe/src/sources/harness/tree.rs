//! From a file to the tasks that it names: includes, groups, tags
//! (`lm_eval/tasks/{_yaml_loader,_index,_factory}.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::ProbeError;
use crate::sources::harness::yaml::{self, YamlData, YamlFields, YamlNode};
use crate::tasks::group::{GroupMean, TaskGroup};
use fineline_diagnostics::nearest_in_parentheses;

/// Keys of a group that its tasks don't inherit (`GroupConfig`).
const OF_GROUPS: [&str; 5] = ["group", "group_alias", "task", "aggregate_metric_list", "metadata"];

/// The tasks and groups of a file.
pub(super) struct HarnessContents {
    /// The keys of each task.
    pub(super) tasks: Vec<YamlFields>,
    /// The groups with an `aggregate_metric_list` and at least two tasks.
    pub(super) groups: Vec<TaskGroup>,
}

/// Reads the tasks and groups of the file at `path`.
pub(super) fn read(path: &Path) -> Result<HarnessContents, ProbeError> {
    let fields = load(path, &mut Vec::new())?;
    let mut names = TaskNames { path, of: None, inside: Vec::new(), groups: Vec::new() };
    if fields.get("group").is_none() {
        return Ok(HarnessContents { tasks: vec![fields], groups: Vec::new() });
    }
    let tasks = names.group(&fields, &YamlFields::default())?;
    let mut groups = names.groups;
    groups.reverse();
    Ok(HarnessContents { tasks, groups })
}

/// The keys of a file merged over those of the files that it includes. `including` is the chain of files from
/// which it is included.
fn load(path: &Path, including: &mut Vec<PathBuf>) -> Result<YamlFields, ProbeError> {
    let mut own = yaml::read(path)?;
    let Some(include) = own.remove("include") else { return Ok(own) };
    let position = include.position.clone();
    let paths =
        texts(&include).ok_or_else(|| position.wrong("`include`: expected a path, or a list of paths"))?;
    including.push(path.to_owned());
    let mut merged = YamlFields::default();
    for relative in paths {
        let included = path.parent().unwrap_or(Path::new("")).join(&relative);
        if !included.is_file() {
            return Err(position.wrong(format!("`include`: no such file: {}", included.display())));
        }
        let is_same =
            |other: &PathBuf| fs_err::canonicalize(other).ok() == fs_err::canonicalize(&included).ok();
        if including.iter().any(is_same) {
            return Err(position.wrong(format!("`include`: {} includes itself", included.display())));
        }
        let mut fields = load(&included, including)?;
        fields.remove("task_list");
        merged.update(fields);
    }
    including.pop();
    merged.update(own);
    Ok(merged)
}

/// A text or a list of texts.
fn texts(node: &YamlNode) -> Option<Vec<String>> {
    let to_text = |value: &Value| value.as_str().map(str::to_owned);
    match node.value().ok()? {
        Value::Array(list) => list.iter().map(to_text).collect(),
        value => to_text(&value).map(|text| vec![text]),
    }
}

/// Meaning of a name.
enum NamedEntry {
    Task(YamlFields),
    TaskGroup(YamlFields),
    /// Names of tasks, sorted.
    Tag(Vec<String>),
}

/// The names defined in the files of a directory and its subdirectories.
struct TaskNames<'a> {
    /// The file that refers to them.
    path: &'a Path,
    of: Option<BTreeMap<String, NamedEntry>>,
    /// The named groups that enclose the current one.
    inside: Vec<String>,
    /// The groups found so far, inner ones first.
    groups: Vec<TaskGroup>,
}

impl TaskNames<'_> {
    /// The tasks of a group. `overrides` are keys from the enclosing groups.
    fn group(&mut self, group: &YamlFields, overrides: &YamlFields) -> Result<Vec<YamlFields>, ProbeError> {
        let mut inherited = YamlFields(
            group.0.iter().filter(|(key, _)| !OF_GROUPS.contains(&key.as_str())).cloned().collect(),
        );
        inherited.update(overrides.clone());
        let Some(YamlNode { data: YamlData::List(members), .. }) = group.get("task") else {
            let wrong = |node: &YamlNode| node.position.wrong("`task`: expected a list of tasks in a group");
            let node = group.get("task").or(group.get("group"));
            return Err(node.map_or(
                ProbeError::TaskFile { path: self.path.to_owned(), key: "task", message: "missing".into() },
                wrong,
            ));
        };
        let mut tasks = Vec::new();
        for member in members {
            tasks.extend(self.member(member, &inherited)?);
        }
        self.note_group(group, &tasks);
        Ok(tasks)
    }

    /// Records the group if it is aggregated.
    fn note_group(&mut self, group: &YamlFields, tasks: &[YamlFields]) {
        let names: Vec<String> = tasks.iter().filter_map(|task| task.get("task").and_then(text)).collect();
        let Some(YamlNode { data: YamlData::List(metrics), .. }) = group.get("aggregate_metric_list") else {
            return;
        };
        let by_task = |metric: &YamlNode| match &metric.data {
            YamlData::Map(fields) => fields
                .get("weight_by_size")
                .is_some_and(|node| node.data == YamlData::Scalar(Value::from(false))),
            _ => false,
        };
        let mean = if metrics.iter().any(by_task) { GroupMean::Tasks } else { GroupMean::Items };
        if let Some(name) = group.get("group").and_then(text).filter(|_| names.len() > 1) {
            self.groups.push(TaskGroup { name, tasks: names, mean });
        }
    }

    /// The tasks of an entry in a group's list: a name, a name with overriding keys, or an inline task or
    /// group.
    fn member(&mut self, member: &YamlNode, inherited: &YamlFields) -> Result<Vec<YamlFields>, ProbeError> {
        let wrong = |message: String| member.position.wrong(message);
        match &member.data {
            YamlData::Scalar(Value::String(name)) => {
                self.named(name, inherited, member)?.ok_or_else(|| self.unknown(name, member))
            }
            YamlData::Map(fields) if fields.get("group").is_some() => {
                let name = fields.get("group").and_then(text).unwrap_or_default();
                let mut own = fields.clone();
                own.remove("group");
                let mut over = inherited.clone();
                over.update(own);
                match self.named(&name, &over, member)? {
                    Some(tasks) => Ok(tasks),
                    None => self.group(fields, inherited),
                }
            }
            YamlData::Map(fields) => {
                let name = fields
                    .get("task")
                    .and_then(text)
                    .ok_or_else(|| wrong("expected `task` or `group` in an entry of a group".into()))?;
                let mut over = inherited.clone();
                over.update(fields.clone());
                Ok(self.named(&name, &over, member)?.unwrap_or_else(|| vec![over]))
            }
            _ => Err(wrong("expected the name of a task, or a task, in a group".into())),
        }
    }

    /// The tasks of a name, with `overrides` of their keys. `None` if the name doesn't exist.
    fn named(
        &mut self,
        name: &str,
        overrides: &YamlFields,
        member: &YamlNode,
    ) -> Result<Option<Vec<YamlFields>>, ProbeError> {
        let names = self.of.get_or_insert_with(|| index(self.path));
        let with = |task: &YamlFields| {
            let mut task = task.clone();
            task.update(overrides.clone());
            task
        };
        match names.get(name) {
            None => Ok(None),
            Some(NamedEntry::Task(task)) => Ok(Some(vec![with(task)])),
            Some(NamedEntry::Tag(tasks)) => {
                let tasks: Vec<&NamedEntry> = tasks.iter().filter_map(|name| names.get(name)).collect();
                let of_task = |named: &&NamedEntry| match named {
                    // The name of the tag doesn't replace the names of its tasks.
                    NamedEntry::Task(task) => Some(YamlFields(
                        with(task)
                            .0
                            .into_iter()
                            .map(|(key, node)| {
                                let own = task.get("task").filter(|_| key == "task").cloned();
                                (key, own.unwrap_or(node))
                            })
                            .collect(),
                    )),
                    _ => None,
                };
                Ok(Some(tasks.iter().filter_map(of_task).collect()))
            }
            Some(NamedEntry::TaskGroup(group)) => {
                let group = group.clone();
                let mut overrides = overrides.clone();
                overrides.remove("task");
                if self.inside.iter().any(|outer| outer == name) {
                    return Err(member.position.wrong(format!("group `{name}` is part of itself")));
                }
                self.inside.push(name.to_owned());
                let tasks = self.group(&group, &overrides)?;
                self.inside.pop();
                Ok(Some(tasks))
            }
        }
    }

    fn unknown(&self, name: &str, member: &YamlNode) -> ProbeError {
        let known = self.of.iter().flat_map(BTreeMap::keys).map(String::as_str);
        let hint = nearest_in_parentheses(name, known);
        member.position.wrong(format!(
            "no task, group or tag `{name}`{hint} in the .yaml files of {}",
            root(self.path).display()
        ))
    }
}

fn text(node: &YamlNode) -> Option<String> {
    node.value().ok()?.as_str().map(str::to_owned)
}

/// The directory whose files define the names: the nearest directory called `tasks` around the file, or
/// otherwise the directory of the file.
fn root(path: &Path) -> &Path {
    let beside = path.parent().unwrap_or(Path::new("."));
    beside.ancestors().find(|dir| dir.file_name().is_some_and(|name| name == "tasks")).unwrap_or(beside)
}

/// All names in the `.yaml` files below the [`root`]. As in the harness, files that can't be read are
/// skipped: a reference to them fails as an unknown name.
fn index(path: &Path) -> BTreeMap<String, NamedEntry> {
    let mut files = Vec::new();
    yaml_files(root(path), &mut files);
    files.sort();
    let mut names: BTreeMap<String, NamedEntry> = BTreeMap::new();
    let mut tags: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for fields in files.iter().filter_map(|file| load(file, &mut Vec::new()).ok()) {
        if let Some(group) = fields.get("group").and_then(text) {
            names.entry(group).or_insert(NamedEntry::TaskGroup(fields));
        } else if let Some(task) = fields.get("task").and_then(text) {
            for tag in fields.get("tag").and_then(texts).unwrap_or_default() {
                tags.entry(tag).or_default().push(task.clone());
            }
            names.entry(task).or_insert(NamedEntry::Task(fields));
        }
    }
    for (tag, mut tasks) in tags {
        tasks.sort();
        tasks.dedup();
        names.entry(tag).or_insert(NamedEntry::Tag(tasks));
    }
    names
}

fn yaml_files(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs_err::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            yaml_files(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
}
