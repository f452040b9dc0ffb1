//! The keys of a task file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;

use crate::error::ProbeError;
use crate::prompts::fewshot_examples::ExamplesTable;
use crate::prompts::preprocess::Preprocess;
use crate::sources::hub_source::HubSource;
use crate::sources::task_file::generation_table::GenerationTable;
use crate::tasks::generation_rules::GenerationRules;
use crate::tasks::kind::TaskKind;
use crate::tasks::task::SignalOnset;

/// A task file as written. `docs/concepts/probes.md` documents the keys.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskFile {
    pub(crate) name: String,
    pub(crate) domain: String,
    pub(crate) kind: TaskKind,
    pub(crate) data: PathBuf,
    pub(crate) hub: Option<HubSource>,
    pub(crate) keep: Option<String>,
    pub(crate) preprocess: Option<Preprocess>,
    pub(crate) names: Option<Names>,
    #[serde(default)]
    pub(crate) shots: usize,
    pub(crate) examples: Option<ExamplesTable>,
    pub(crate) chance: Option<f64>,
    pub(crate) signal: Option<SignalOnset>,
    pub(crate) source: Option<String>,
    pub(crate) licence: Option<String>,
    pub(crate) version: Option<String>,
    #[serde(default)]
    pub(crate) description: String,
    #[serde(default)]
    pub(crate) context: String,
    #[serde(default)]
    pub(crate) choices: Choices,
    pub(crate) answers: Option<Choices>,
    pub(crate) solution: Option<String>,
    pub(crate) target_delimiter: Option<String>,
    pub(crate) program: Option<ProgramTable>,
    pub(crate) prompts: Option<Prompts>,
    pub(crate) generation: Option<GenerationTable>,
    pub(crate) continuation: Option<String>,
    pub(crate) original: Option<String>,
    pub(crate) unconditional: Option<String>,
    pub(crate) gold: Option<String>,
    pub(crate) right: Option<String>,
    pub(crate) labels: Option<Labels>,
    pub(crate) cluster: Option<String>,
    pub(crate) id: Option<String>,
}

/// `[names]`: values of `{{name}}`, by the value of a field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Names {
    pub(crate) field: String,
    pub(crate) of: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the name of a field that holds a list, or a list of templates")]
pub(crate) enum Choices {
    Field(String),
    Templates(Vec<String>),
}

impl Default for Choices {
    fn default() -> Self {
        Self::Templates(Vec::new())
    }
}

/// `[program]`: templates that turn an answer into a program.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProgramTable {
    #[serde(default)]
    pub(crate) before: String,
    pub(crate) tests: String,
}

/// `[prompts]`: values of `{{prompt}}`, a text file by the value of a field.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Prompts {
    /// Directory of the files, which end in `.txt`.
    pub(crate) data: PathBuf,
    /// The field.
    pub(crate) field: String,
    /// The text begins after this marker, such as a line that isn't part of it.
    pub(crate) after: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the name of a field that holds a list, or the list itself")]
pub(crate) enum Labels {
    Field(String),
    List(Vec<String>),
}

impl TaskFile {
    /// The rules of generation, if answers are generated. On failure, the invalid key and the reason.
    pub(crate) fn rules(&self) -> Result<Option<GenerationRules>, (&'static str, String)> {
        let of_written = [
            ("answers", self.answers.is_some(), self.kind == TaskKind::Generation),
            ("program", self.program.is_some(), self.kind == TaskKind::Code),
        ];
        for (key, is_there, is_needed) in of_written {
            if is_there != is_needed {
                let message = if is_there { "not for a" } else { "missing in a" };
                return Err((key, format!("{message} {} task", self.kind.name())));
            }
        }
        let is_generated = self.generation.is_some() || self.solution.is_some();
        match self.kind.is_written() {
            true => self.generation.clone().unwrap_or_default().rules().map(Some),
            false if is_generated => {
                let message = "only for kinds `generation` and `code`";
                Err(("generation", message.to_owned()))
            }
            false => Ok(None),
        }
    }

    /// The rules by which the texts of the items are made. Examples are part of the texts themselves.
    pub(crate) fn template(&self) -> String {
        let Self { preprocess, names, shots, description, context, choices, continuation, .. } = self;
        let Self { original, unconditional, gold, labels, .. } = self;
        let template = format!(
            "{preprocess:?} {names:?} {shots} {description:?} {context:?} {choices:?} {continuation:?} \
             {original:?} {unconditional:?} {gold:?} {labels:?}"
        );
        let template = match &self.right {
            Some(right) => format!("{template} {right:?}"),
            None => template,
        };
        if !self.kind.is_written() {
            return template;
        }
        let Self { answers, solution, target_delimiter, program, prompts, generation, .. } = self;
        format!(
            "{template} {answers:?} {solution:?} {target_delimiter:?} {program:?} {prompts:?} {generation:?}"
        )
    }
}

impl Prompts {
    /// Reads the texts in a directory, by the names of their files.
    pub(crate) fn read(&self, dir: &Path) -> Result<BTreeMap<String, String>, ProbeError> {
        let mut prompts = BTreeMap::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "txt") {
                let text = fs::read_to_string(&path)?;
                let mark = self.after.as_deref().unwrap_or_default();
                let text = text.split_once(mark).map_or(text.as_str(), |(_, text)| text);
                let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
                prompts.insert(name.unwrap_or_default(), text.to_owned());
            }
        }
        Ok(prompts)
    }
}
