//! The keys of one task (`TaskConfig` and `FewshotConfig` of `lm_eval/config/task.py`).

use serde_json::Value;

use crate::error::ProbeError;
use crate::sources::harness::fields::FieldSource;
use crate::sources::harness::functions::{PythonFunction, RecordFunction, ResultFunction};
use crate::sources::harness::yaml::{SourcePosition, YamlData, YamlFields, YamlNode};
use fineline_diagnostics::nearest_in_parentheses;

/// Keys without effect here: names and groupings, decontamination, which fineline doesn't do, and keys about
/// downloading data or permission to run code.
const IGNORED: [&str; 9] = [
    "doc_to_decontamination_query",
    "group",
    "group_alias",
    "recipe",
    "should_decontaminate",
    "tag",
    "task_alias",
    "task_list",
    "unsafe_code",
];

/// Unsupported keys. Refused unless they are null.
const REFUSED: [&str; 5] = ["class", "custom_dataset", "doc_to_audio", "doc_to_image", "use_prompt"];

/// Supported keys.
const READ: [&str; 27] = [
    "dataset_kwargs",
    "dataset_name",
    "dataset_path",
    "description",
    "doc_to_choice",
    "doc_to_target",
    "doc_to_text",
    "fewshot_config",
    "fewshot_delimiter",
    "fewshot_split",
    "filter_list",
    "gen_prefix",
    "generation_kwargs",
    "metadata",
    "metric_list",
    "num_fewshot",
    "output_type",
    "process_docs",
    "process_results",
    "repeats",
    "target_delimiter",
    "task",
    "test_split",
    "training_split",
    "unconditional",
    "validation_split",
    "include",
];

/// Supported keys of `fewshot_config`.
const OF_EXAMPLES: [&str; 11] = [
    "doc_to_choice",
    "doc_to_target",
    "doc_to_text",
    "fewshot_delimiter",
    "fewshot_indices",
    "gen_prefix",
    "process_docs",
    "sampler",
    "samples",
    "split",
    "target_delimiter",
];

/// A task as defined by its files.
#[derive(Debug)]
pub(super) struct TaskConfig {
    /// Position of its name, for errors that concern no key in particular.
    pub(super) position: SourcePosition,
    pub(super) name: String,
    /// Its first tag.
    pub(super) tag: Option<String>,
    pub(super) version: Option<String>,
    pub(super) output: OutputType,
    pub(super) dataset: HarnessDataset,
    /// The split that is evaluated.
    pub(super) split: DatasetSplit,
    pub(super) process: Option<RecordFunction>,
    pub(super) results: Option<ResultFunction>,
    pub(super) description: Option<FieldSource>,
    pub(super) form: PromptForm,
    pub(super) examples: ExamplesConfig,
    pub(super) shots: usize,
    /// Entries of `metric_list`.
    pub(super) metrics: Vec<YamlFields>,
    pub(super) generation: Option<YamlNode>,
    pub(super) filters: Option<YamlNode>,
    pub(super) repeats: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OutputType {
    MultipleChoice,
    LogLikelihood,
    Rolling,
    GenerateUntil,
}

/// Source of the records.
#[derive(Debug)]
pub(super) struct HarnessDataset {
    pub(super) path: String,
    pub(super) name: Option<String>,
    pub(super) files: Option<YamlNode>,
    pub(super) position: SourcePosition,
}

/// Name of a split, and the position of the key that names it.
#[derive(Clone, Debug)]
pub(super) struct DatasetSplit {
    pub(super) name: String,
    pub(super) position: SourcePosition,
}

/// Templates of the texts of a record.
#[derive(Clone, Debug)]
pub(super) struct PromptForm {
    pub(super) text: Option<FieldSource>,
    pub(super) target: Option<FieldSource>,
    pub(super) choices: Option<FieldSource>,
    pub(super) prefix: Option<FieldSource>,
    pub(super) target_delimiter: String,
    pub(super) example_delimiter: String,
}

/// The few-shot examples.
#[derive(Debug)]
pub(super) struct ExamplesConfig {
    pub(super) form: PromptForm,
    pub(super) process: Option<RecordFunction>,
    pub(super) sampler: HarnessSampler,
    pub(super) pool: ExamplePool,
    /// Whether a question that is in the pool is excluded from its own examples.
    pub(super) spares_question: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HarnessSampler {
    Default,
    FirstN,
}

#[derive(Debug)]
pub(super) enum ExamplePool {
    Split(DatasetSplit),
    Samples(Vec<Value>),
    MbppSamples(SourcePosition),
}

impl TaskConfig {
    pub(super) fn new(fields: YamlFields) -> Result<Self, ProbeError> {
        let keys = TaskKeys { fields, inside: "" };
        let Some(position) = keys.fields.0.first().map(|(_, node)| node.position.clone()) else {
            return Err(ProbeError::Io(std::io::Error::other("the task file has no keys")));
        };
        let position = keys.get("task").map_or(position, |node| node.position.clone());
        keys.check(&[&READ[..], &IGNORED[..]].concat(), &REFUSED)?;
        let Some(name) = keys.text("task")? else {
            return Err(position.wrong("`task`: missing: expected the task's name"));
        };
        let dataset_position = keys.get("dataset_path").map_or(&position, |node| &node.position).clone();
        let Some(path) = keys.text("dataset_path")? else {
            return Err(dataset_position.wrong("`dataset_path`: missing"));
        };
        let kwargs = keys.map("dataset_kwargs")?;
        let files = kwargs.as_ref().and_then(|kwargs| kwargs.get("data_files")).cloned();
        let dataset =
            HarnessDataset { path, name: keys.text("dataset_name")?, files, position: dataset_position };
        let [training, validation, test] =
            [keys.split("training_split")?, keys.split("validation_split")?, keys.split("test_split")?];
        let Some(split) = test.clone().or_else(|| validation.clone()) else {
            return Err(position
                .wrong("`test_split`: missing, and so is `validation_split`: expected the name of a split"));
        };
        let form = PromptForm {
            text: keys.source("doc_to_text")?,
            target: keys.source("doc_to_target")?,
            choices: keys.source("doc_to_choice")?,
            prefix: keys.source("gen_prefix")?,
            target_delimiter: keys.text("target_delimiter")?.unwrap_or_else(|| " ".to_owned()),
            example_delimiter: keys.text("fewshot_delimiter")?.unwrap_or_else(|| "\n\n".to_owned()),
        };
        let process = keys.process("process_docs")?;
        let own_pool = training.or(validation).or_else(|| test.clone());
        let examples =
            keys.examples(&form, process, test.as_ref(), own_pool.unwrap_or_else(|| split.clone()))?;
        let metrics = keys.list("metric_list")?.into_iter().map(|node| match node.data {
            YamlData::Map(fields) => Ok(fields),
            _ => Err(node
                .position
                .wrong("`metric_list`: expected a list of metrics, each with its name as `metric`")),
        });
        let tag = keys.get("tag").and_then(|node| match &node.data {
            YamlData::List(tags) => tags.first().and_then(|tag| tag.value().ok()),
            _ => node.value().ok(),
        });
        Ok(Self {
            metrics: metrics.collect::<Result<_, _>>()?,
            tag: tag.and_then(|tag| tag.as_str().map(str::to_owned)),
            version: keys.map("metadata")?.and_then(|metadata| {
                Some(crate::text::python::text(&metadata.get("version")?.value().ok()?))
            }),
            output: keys.output()?,
            results: match keys.function("process_results")? {
                None => None,
                Some((PythonFunction::Results(results), _)) => Some(results),
                Some((_, position)) => {
                    return Err(
                        position.wrong("`process_results`: expected a function from responses to metrics")
                    );
                }
            },
            description: keys.source("description")?,
            shots: keys.count("num_fewshot")?.unwrap_or(0),
            generation: keys.get("generation_kwargs").cloned(),
            filters: keys.get("filter_list").cloned(),
            repeats: keys.count("repeats")?.unwrap_or(1),
            position,
            name,
            dataset,
            split,
            process,
            form,
            examples,
        })
    }
}

/// Keys and values of a mapping. The mapping is the value of the key `inside`, if that is not empty.
struct TaskKeys {
    fields: YamlFields,
    inside: &'static str,
}

impl TaskKeys {
    /// The value of a key, if it is present and not null.
    fn get(&self, key: &str) -> Option<&YamlNode> {
        self.fields.get(key).filter(|node| node.data != YamlData::Scalar(Value::Null))
    }

    fn path(&self, key: &str) -> String {
        if self.inside.is_empty() { key.to_owned() } else { format!("{}.{key}", self.inside) }
    }

    fn wrong(&self, node: &YamlNode, key: &str, message: &str) -> ProbeError {
        node.position.wrong(format!("`{}`: {message}", self.path(key)))
    }

    fn check(&self, known: &[&str], refused: &[&str]) -> Result<(), ProbeError> {
        for (key, node) in &self.fields.0 {
            if refused.contains(&key.as_str()) {
                if self.get(key).is_some() {
                    return Err(self.wrong(node, key, "not supported"));
                }
            } else if !known.contains(&key.as_str()) {
                let hint = nearest_in_parentheses(key, known.iter().copied());
                return Err(node.position.wrong(format!("unknown key `{}`{hint}", self.path(key))));
            }
        }
        Ok(())
    }

    fn text(&self, key: &str) -> Result<Option<String>, ProbeError> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match &node.data {
            YamlData::Scalar(value @ (Value::String(_) | Value::Number(_))) => {
                Ok(Some(crate::text::python::text(value)))
            }
            _ => Err(self.wrong(node, key, "expected a text")),
        }
    }

    fn split(&self, key: &str) -> Result<Option<DatasetSplit>, ProbeError> {
        let position = self.get(key).map(|node| node.position.clone());
        Ok(self.text(key)?.zip(position).map(|(name, position)| DatasetSplit { name, position }))
    }

    fn count(&self, key: &str) -> Result<Option<usize>, ProbeError> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let count = node.value()?.as_u64().map(|count| count as usize);
        count.map(Some).ok_or_else(|| self.wrong(node, key, "expected a number, 0 or greater"))
    }

    fn map(&self, key: &str) -> Result<Option<YamlFields>, ProbeError> {
        let Some(node) = self.get(key) else { return Ok(None) };
        match &node.data {
            YamlData::Map(fields) => Ok(Some(fields.clone())),
            _ => Err(self.wrong(node, key, "expected keys and values")),
        }
    }

    fn list(&self, key: &str) -> Result<Vec<YamlNode>, ProbeError> {
        let Some(node) = self.get(key) else { return Ok(Vec::new()) };
        match &node.data {
            YamlData::List(list) => Ok(list.clone()),
            _ => Err(self.wrong(node, key, "expected a list")),
        }
    }

    fn function(&self, key: &str) -> Result<Option<(PythonFunction, SourcePosition)>, ProbeError> {
        let Some(node) = self.get(key) else { return Ok(None) };
        let function = PythonFunction::of(node, &self.path(key))?;
        let function = function.ok_or_else(|| self.wrong(node, key, "expected `!function module.name`"))?;
        Ok(Some((function, node.position.clone())))
    }

    fn process(&self, key: &str) -> Result<Option<RecordFunction>, ProbeError> {
        match self.function(key)? {
            None => Ok(None),
            Some((PythonFunction::Records(records), _)) => Ok(Some(records)),
            Some((_, position)) => {
                Err(position.wrong(format!("`{}`: expected a function of records", self.path(key))))
            }
        }
    }

    fn source(&self, key: &str) -> Result<Option<FieldSource>, ProbeError> {
        self.get(key).map(|node| FieldSource::new(node, &self.path(key))).transpose()
    }

    fn output(&self) -> Result<OutputType, ProbeError> {
        const KINDS: [(&str, OutputType); 4] = [
            ("generate_until", OutputType::GenerateUntil),
            ("loglikelihood", OutputType::LogLikelihood),
            ("loglikelihood_rolling", OutputType::Rolling),
            ("multiple_choice", OutputType::MultipleChoice),
        ];
        let Some(name) = self.text("output_type")? else { return Ok(OutputType::GenerateUntil) };
        let found = KINDS.iter().find(|(known, _)| *known == name).map(|(_, output)| *output);
        found.ok_or_else(|| {
            let hint = nearest_in_parentheses(&name, KINDS.map(|(known, _)| known));
            let names = KINDS.map(|(known, _)| known).join(", ");
            let message = format!("unknown type `{name}`{hint}: expected one of {names}");
            self.get("output_type").map_or_else(
                || ProbeError::Io(std::io::Error::other(message.clone())),
                |node| self.wrong(node, "output_type", &message),
            )
        })
    }

    /// The few-shot examples. Keys missing in `fewshot_config` default to those of the questions.
    fn examples(
        &self,
        form: &PromptForm,
        process: Option<RecordFunction>,
        test: Option<&DatasetSplit>,
        own_pool: DatasetSplit,
    ) -> Result<ExamplesConfig, ProbeError> {
        let keys = Self { fields: self.map("fewshot_config")?.unwrap_or_default(), inside: "fewshot_config" };
        keys.check(&OF_EXAMPLES, &[])?;
        let split = if keys.fields.get("split").is_some() {
            keys.split("split")?
        } else {
            self.split("fewshot_split")?
        };
        let spares_question = split.as_ref().map(|split| &split.name) == test.map(|split| &split.name);
        let samples = keys.get("samples").map(|node| keys.samples(node)).transpose()?;
        let process =
            if keys.fields.get("process_docs").is_some() { keys.process("process_docs")? } else { process };
        let sampler = match keys.text("sampler")?.as_deref() {
            None | Some("default") => HarnessSampler::Default,
            Some("first_n") => HarnessSampler::FirstN,
            Some(other) => {
                let message = format!("unknown sampler `{other}`: expected `default` or `first_n`");
                return Err(keys.get("sampler").map_or_else(
                    || ProbeError::Io(std::io::Error::other(message.clone())),
                    |node| keys.wrong(node, "sampler", &message),
                ));
            }
        };
        Ok(ExamplesConfig {
            form: PromptForm {
                text: keys.source("doc_to_text")?.or_else(|| form.text.clone()),
                target: keys.source("doc_to_target")?.or_else(|| form.target.clone()),
                choices: keys.source("doc_to_choice")?.or_else(|| form.choices.clone()),
                prefix: keys.source("gen_prefix")?.or_else(|| form.prefix.clone()),
                target_delimiter: keys
                    .text("target_delimiter")?
                    .unwrap_or_else(|| form.target_delimiter.clone()),
                example_delimiter: keys
                    .text("fewshot_delimiter")?
                    .unwrap_or_else(|| form.example_delimiter.clone()),
            },
            process: split.is_some().then_some(process).flatten().or(if samples.is_none() {
                process
            } else {
                None
            }),
            sampler,
            pool: match (split, samples) {
                (Some(split), _) => ExamplePool::Split(split),
                (None, Some(samples)) => samples,
                (None, None) => ExamplePool::Split(own_pool),
            },
            spares_question,
        })
    }

    fn samples(&self, node: &YamlNode) -> Result<ExamplePool, ProbeError> {
        match PythonFunction::of(node, &self.path("samples"))? {
            Some(PythonFunction::MbppSamples) => return Ok(ExamplePool::MbppSamples(node.position.clone())),
            Some(_) => return Err(self.wrong(node, "samples", "expected a function without arguments")),
            None => {}
        }
        match node.value()? {
            Value::Array(samples) => Ok(ExamplePool::Samples(samples)),
            _ => Err(self.wrong(node, "samples", "expected a list of records")),
        }
    }
}
