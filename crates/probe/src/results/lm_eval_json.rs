//! Results in the format of lm-evaluation-harness.

use std::collections::BTreeMap;

use fineline_dynamics::Estimate;
use serde_json::{Map, Value, json};

use crate::metrics::higher_is_better;
use crate::results::group_result::GroupResult;
use crate::results::task_result::TaskResult;
use crate::tasks::group::TaskGroup;
use crate::tasks::kind::TaskKind;

/// Fields of `results.json` other than the scores.
#[derive(Clone, Debug, Default)]
pub struct ResultsHeader {
    /// The checkpoint.
    pub model: String,
    /// The device of the evaluation.
    pub device: String,
    /// Maximum number of items per task, if limited.
    pub limit: Option<usize>,
    /// Start of the round, in seconds since 1970.
    pub date: Option<f64>,
    /// Seconds of the whole evaluation, including loading.
    pub seconds: Option<f64>,
}

/// The results in the layout of lm-evaluation-harness 0.4's `results_*.json`, for tools that read it.
///
/// Standard errors are those of the item store ([`metrics`](crate::metrics())): by the delta method where the
/// harness would bootstrap (perplexities), cluster-robust where items are clustered, which the harness
/// ignores. Unknown values are `"N/A"`, as in the harness. Groups whose tasks are all among the results are
/// listed in `results` and in `groups`.
#[must_use]
pub fn results_json(results: &[TaskResult], groups: &[TaskGroup], header: &ResultsHeader) -> Value {
    let groups: Vec<GroupResult> = groups.iter().filter_map(|group| group.result(results)).collect();
    let by_task = |value: &dyn Fn(&TaskResult) -> Value| -> Map<String, Value> {
        results.iter().map(|result| (result.task.clone(), value(result))).collect()
    };
    let by_group = |value: &dyn Fn(&GroupResult) -> Value| -> Map<String, Value> {
        groups.iter().map(|group| (group.name.clone(), value(group))).collect()
    };
    let by_both = |of_task: &dyn Fn(&TaskResult) -> Value, of_group: &dyn Fn(&GroupResult) -> Value| {
        let mut values = by_task(of_task);
        values.extend(by_group(of_group));
        values
    };
    json!({
        "results": by_both(&task_scores, &group_scores),
        "groups": by_group(&group_scores),
        "group_subtasks": by_group(&|group| json!(group.tasks)),
        "configs": by_task(&config),
        "versions": by_both(&version, &|_| json!("N/A")),
        "n-shot": by_both(&|result| json!(result.shots), &|group| json!(group.shots)),
        "higher_is_better": by_both(&|result| directions(&result.metrics),
        &|group| directions(&group.metrics)),
        "n-samples": by_task(&|result| json!({"original": result.total, "effective": result.n})),
        "config": {
            "model": "fineline",
            "model_args": {"pretrained": header.model},
            "device": header.device,
            "limit": header.limit,
            "bootstrap_iters": 0,
        },
        "date": header.date,
        "task_hashes": by_task(&|result| json!(result.provenance.data)),
        "model_name": header.model,
        "total_evaluation_time_seconds": header.seconds.map(|seconds| seconds.to_string()),
    })
}

/// The version of the task, as a number if possible.
fn version(result: &TaskResult) -> Value {
    let Some(version) = &result.version else { return json!("N/A") };
    version.parse::<f64>().map_or_else(|_| json!(version), Value::from)
}

/// Scores under the harness's keys. `filter` is the filter of metrics whose name has none.
fn scores(alias: &str, metrics: &BTreeMap<String, Estimate>, filter: &str) -> Map<String, Value> {
    let known = |value: Option<f64>| value.map_or(json!("N/A"), Value::from);
    let mut scores = Map::from_iter([("alias".to_owned(), json!(alias))]);
    for (name, estimate) in metrics {
        let (metric, filter) = name.split_once(',').unwrap_or((name, filter));
        scores.insert(format!("{metric},{filter}"), known(estimate.value));
        scores.insert(format!("{metric}_stderr,{filter}"), known(estimate.stderr));
    }
    scores
}

fn task_scores(result: &TaskResult) -> Value {
    let first_filter = result.items.first().and_then(|row| row.filter.as_deref());
    scores(&result.task, &result.metrics, first_filter.unwrap_or("none")).into()
}

fn group_scores(group: &GroupResult) -> Value {
    let mut scores = scores(&group.name, &group.metrics, "none");
    scores.insert("sample_len".to_owned(), json!(group.n));
    scores.into()
}

fn config(result: &TaskResult) -> Value {
    let output_type = match result.kind {
        // The harness has no equivalent of `FullPromptMeanCe`, `SuffixMeanCe`, `InContext` and
        // `Representation`.
        TaskKind::MultipleChoice | TaskKind::FullPromptMeanCe | TaskKind::SuffixMeanCe => "multiple_choice",
        TaskKind::GreedyMatch | TaskKind::InContext => "loglikelihood",
        TaskKind::Representation => "representation",
        TaskKind::Perplexity => "loglikelihood_rolling",
        TaskKind::Generation | TaskKind::Code => "generate_until",
    };
    json!({"task": result.task, "output_type": output_type, "target_delimiter": " ",
        "num_fewshot": result.shots})
}

fn directions(metrics: &BTreeMap<String, Estimate>) -> Value {
    metrics
        .keys()
        .map(|name| name.split_once(',').map_or(name.as_str(), |(metric, _)| metric))
        .map(|metric| (metric.to_owned(), json!(higher_is_better(metric))))
        .collect::<Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::item_row::tests::row;
    use crate::metrics::metrics;
    use crate::tasks::group::GroupMean;
    use crate::tasks::provenance::Provenance;

    fn result() -> TaskResult {
        let items = vec![row(TaskKind::GreedyMatch, 0, 0, 0, -1.0)];
        TaskResult {
            task: "t".into(),
            domain: "d".into(),
            version: None,
            kind: TaskKind::GreedyMatch,
            n: 1,
            total: 7,
            shots: 5,
            chance: None,
            metrics: metrics(&items),
            items,
            representation: None,
            truncated: 0,
            non_finite: 0,
            seconds: 1.0,
            provenance: Provenance::for_tests("hash"),
        }
    }

    #[test]
    fn the_layout_is_the_harness_s() {
        let result = result();
        let header = ResultsHeader { model: "path".into(), limit: Some(1), ..ResultsHeader::default() };
        let group = |name: &str, tasks: &[&str]| TaskGroup {
            name: name.into(),
            tasks: tasks.iter().map(|task| (*task).to_owned()).collect(),
            mean: GroupMean::Items,
        };
        let other = TaskResult { task: "u".into(), shots: 0, ..result.clone() };
        let groups = [group("both", &["t", "u"]), group("absent", &["t", "v"])];
        let json = results_json(&[result, other], &groups, &header);
        assert_eq!(json["results"]["t"]["acc,none"], 0.0);
        assert_eq!(json["results"]["t"]["acc_stderr,none"], "N/A");
        assert_eq!(json["results"]["t"]["alias"], "t");
        assert_eq!(json["n-shot"]["t"], 5);
        assert_eq!(json["n-samples"]["t"], json!({"original": 7, "effective": 1}));
        assert_eq!(
            json["higher_is_better"]["t"],
            json!({"acc": true, "bits_per_byte": false, "perplexity": false})
        );
        assert_eq!(json["configs"]["t"]["output_type"], "loglikelihood");
        assert_eq!(json["config"]["limit"], 1);
        assert_eq!(json["group_subtasks"], json!({"both": ["t", "u"]}));
        assert_eq!(json["groups"]["both"], json["results"]["both"]);
        assert_eq!(json["groups"]["both"]["acc,none"], 0.0);
        assert_eq!(json["groups"]["both"]["sample_len"], 2);
        assert_eq!(json["n-shot"]["both"], Value::Null, "the tasks' differ");
        assert_eq!(json["higher_is_better"]["both"], json!({"acc": true, "bits_per_byte": false}));
        assert_eq!(results_json(&[], &[], &header)["results"], json!({}));
    }

    #[test]
    fn metrics_of_answers_are_named_after_their_filters() {
        let answer = |filter: &str, correct| crate::items::item_row::ItemRow {
            correct: Some(correct),
            filter: Some(filter.into()),
            ..row(TaskKind::Generation, 0, 0, 0, -1.0)
        };
        let items = vec![answer("strict-match", false), answer("flexible-extract", true)];
        let result = TaskResult { kind: TaskKind::Generation, metrics: metrics(&items), items, ..result() };
        let json = results_json(&[result], &[], &ResultsHeader::default());
        assert_eq!(json["results"]["t"]["exact_match,strict-match"], 0.0);
        assert_eq!(json["results"]["t"]["exact_match,flexible-extract"], 1.0);
        assert_eq!(json["results"]["t"]["exact_match_stderr,strict-match"], "N/A");
        assert_eq!(json["higher_is_better"]["t"], json!({"exact_match": true}));
        assert_eq!(json["configs"]["t"]["output_type"], "generate_until");
    }
}
