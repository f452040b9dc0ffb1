//! Scoring of a task's answers: `metric_list`, `generation_kwargs`, `filter_list`.

use fineline_model::Sampling;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::ProbeError;
use crate::sources::harness::config::{OutputType, TaskConfig};
use crate::sources::harness::functions::{FilterFunction, MetricFunction, PythonFunction, ResultFunction};
use crate::sources::harness::yaml::{YamlData, YamlNode};
use crate::tasks::generation_rules::{AnswerEquality, ExactMatch, GenerationRules, Pipeline};
use crate::tasks::kind::TaskKind;
use fineline_diagnostics::nearest_in_parentheses;

/// Metrics of choices, which are always computed.
const OF_CHOICES: [&str; 5] = ["acc", "acc_norm", "acc_bytes", "acc_mutual_info", "brier_score"];
const OF_LOG_LIKELIHOOD: [&str; 2] = ["acc", "perplexity"];
const OF_TEXTS: [&str; 3] = ["bits_per_byte", "byte_perplexity", "word_perplexity"];

/// Keys of an entry of `metric_list` that are not options of the metric.
const ABOUT_METRICS: [&str; 4] = ["aggregation", "higher_is_better", "hf_evaluate", "metric"];

/// The supported keys of `generation_kwargs`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct GenerationKwargs {
    until: Option<UntilTexts>,
    #[serde(alias = "max_new_tokens", alias = "max_tokens")]
    max_gen_toks: Option<usize>,
    do_sample: Option<bool>,
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a text, or a list of texts")]
enum UntilTexts {
    One(String),
    Several(Vec<String>),
}

impl TaskConfig {
    /// How items are scored.
    pub(super) fn kind(&self) -> Result<TaskKind, ProbeError> {
        let passes = self.metric_functions()?.contains(&MetricFunction::Passes);
        Ok(match self.output {
            OutputType::MultipleChoice => TaskKind::MultipleChoice,
            OutputType::LogLikelihood => TaskKind::GreedyMatch,
            OutputType::Rolling => TaskKind::Perplexity,
            OutputType::GenerateUntil if passes => TaskKind::Code,
            OutputType::GenerateUntil => TaskKind::Generation,
        })
    }

    /// Whether the choices are also scored after an empty context.
    pub(super) fn is_unconditional(&self) -> bool {
        self.metric_names().any(|name| name == "acc_mutual_info")
    }

    /// Warns of metrics of the task that are not computed here.
    pub(super) fn warn_of_metrics(&self) {
        let known: &[&str] = match self.output {
            _ if self.results.is_some() => return,
            OutputType::MultipleChoice => &OF_CHOICES,
            OutputType::LogLikelihood => &OF_LOG_LIKELIHOOD,
            OutputType::Rolling => &OF_TEXTS,
            OutputType::GenerateUntil => &["exact_match"],
        };
        for metric in self.metric_names().filter(|name| !known.contains(&name.as_str())) {
            tracing::warn!(task = self.name, metric, "this metric of the task file is not supported");
        }
    }

    fn metric_names(&self) -> impl Iterator<Item = String> {
        self.metrics
            .iter()
            .filter_map(|metric| Some(metric.get("metric")?.value().ok()?.as_str()?.to_owned()))
    }

    fn metric_functions(&self) -> Result<Vec<MetricFunction>, ProbeError> {
        let mut functions = Vec::new();
        for node in self.metrics.iter().filter_map(|metric| metric.get("metric")) {
            match PythonFunction::of(node, "metric_list.metric")? {
                Some(PythonFunction::Metric(metric)) => functions.push(metric),
                Some(_) => return Err(node.position.wrong("`metric_list.metric`: expected a metric")),
                None => {}
            }
        }
        Ok(functions)
    }

    /// Rules of generation and judgement, and whether the prompt precedes the answer when it is run.
    pub(super) fn rules(&self) -> Result<(GenerationRules, bool), ProbeError> {
        let (filters, has_prompt) = self.pipelines()?;
        let generation: GenerationKwargs = match &self.generation {
            Some(node) => read(node, node.value()?, "generation_kwargs")?,
            None => GenerationKwargs::default(),
        };
        let until = match generation.until {
            Some(UntilTexts::One(text)) => vec![text],
            Some(UntilTexts::Several(texts)) => texts,
            None => vec![self.form.example_delimiter.clone()],
        };
        let temperature =
            generation.temperature.unwrap_or(if generation.do_sample == Some(true) { 1.0 } else { 0.0 });
        let is_random = generation.do_sample != Some(false) && temperature > 0.0;
        let of_nothing = GenerationRules::default();
        let rules = GenerationRules {
            until: until.into_iter().filter(|text| !text.is_empty()).collect(),
            max_new_tokens: generation.max_gen_toks.unwrap_or(of_nothing.max_new_tokens),
            sampling: if is_random {
                let GenerationKwargs { top_k, top_p, .. } = generation;
                Sampling::Random { temperature, top_k, top_p, seed: 0 }
            } else {
                Sampling::Greedy
            },
            attempts: self.repeats,
            filters,
            equality: self.equality()?,
            token_f1: false,
        };
        Ok((rules, has_prompt))
    }

    fn equality(&self) -> Result<AnswerEquality, ProbeError> {
        if self.results == Some(ResultFunction::Math) {
            return Ok(AnswerEquality::Math);
        }
        let is_exact = |metric: &&crate::sources::harness::yaml::YamlFields| {
            metric.get("metric").and_then(|node| node.value().ok()) == Some(Value::from("exact_match"))
        };
        if let Some(metric) = self.metrics.iter().find(is_exact) {
            let mut options = Map::new();
            for (key, node) in metric.0.iter().filter(|(key, _)| !ABOUT_METRICS.contains(&key.as_str())) {
                options.insert(key.clone(), node.value()?);
            }
            let node = metric.get("metric").map_or(&self.position, |node| &node.position);
            let rule: Result<ExactMatch, _> = serde_json::from_value(options.into());
            return rule
                .map(AnswerEquality::ExactMatch)
                .map_err(|error| node.wrong(format!("`metric_list`: {error}")));
        }
        if self.metrics.is_empty() || self.metric_functions()?.contains(&MetricFunction::Passes) {
            return Ok(AnswerEquality::ExactMatch(ExactMatch::default()));
        }
        Err(self.position.wrong("`metric_list`: no supported metric: expected `exact_match`"))
    }

    /// The filters, and whether one of them puts the prompt before the answer.
    fn pipelines(&self) -> Result<(Vec<Pipeline>, bool), ProbeError> {
        let Some(node) = &self.filters else { return Ok((Vec::new(), false)) };
        let YamlData::List(list) = &node.data else {
            return Err(node.position.wrong("`filter_list`: expected a list of filters"));
        };
        let mut pipelines = Vec::new();
        let mut has_prompt = false;
        for entry in list {
            if puts_prompt(entry)? {
                has_prompt = true;
            } else {
                pipelines.push(read(entry, entry.value()?, "filter_list")?);
            }
        }
        Ok((pipelines, has_prompt))
    }
}

/// Whether a filter is the function that puts the prompt before an answer.
fn puts_prompt(entry: &YamlNode) -> Result<bool, ProbeError> {
    let YamlData::Map(fields) = &entry.data else { return Ok(false) };
    let Some(YamlNode { data: YamlData::List(steps), .. }) = fields.get("filter") else { return Ok(false) };
    for step in steps {
        let YamlData::Map(step) = &step.data else { continue };
        for key in ["filter_fn", "function"] {
            let Some(node) = step.get(key) else { continue };
            match PythonFunction::of(node, &format!("filter_list.{key}"))? {
                Some(PythonFunction::Filter(FilterFunction::HumanevalProgram)) => return Ok(true),
                Some(_) => {
                    return Err(node.position.wrong(format!("`filter_list.{key}`: expected a filter")));
                }
                None => {}
            }
        }
    }
    Ok(false)
}

fn read<T: DeserializeOwned>(node: &YamlNode, value: Value, key: &str) -> Result<T, ProbeError> {
    serde_json::from_value(value).map_err(|error| {
        let message = error.to_string();
        let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
        let hint = unknown.map_or_else(String::new, |(name, _)| {
            nearest_in_parentheses(
                name,
                ["until", "max_gen_toks", "do_sample", "temperature", "top_k", "top_p"],
            )
        });
        node.position.wrong(format!("`{key}`: {message}{hint}"))
    })
}
