//! Results compared with scipy and statsmodels: the golden numbers of `scripts/fixtures/dynamics.py`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use fineline_dynamics::{
    Clusters, Estimate, PairedDifference, WeightedEstimate, benjamini_hochberg, combined_difference,
    combined_estimate, mean, minimum_detectable_effect, paired_binary, paired_mean, paired_ratio,
    pooled_mean, proportion, ratio,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Case<I> {
    /// The cluster of each item. Empty for independent items.
    #[serde(default)]
    clusters: Vec<u32>,
    #[serde(flatten)]
    input: I,
    #[serde(flatten)]
    expected: serde_json::Map<String, serde_json::Value>,
}

impl<I> Case<I> {
    fn clusters(&self, items: usize) -> Clusters {
        Clusters::of((0..items).map(|item| self.clusters.get(item)))
    }
}

fn cases<I: DeserializeOwned>(sections: &[&str]) -> Vec<Case<I>> {
    let fixtures: serde_json::Value = serde_json::from_str(include_str!("fixtures/reference.json")).unwrap();
    let section = |name: &&str| -> Vec<Case<I>> { serde_json::from_value(fixtures[name].clone()).unwrap() };
    sections.iter().flat_map(section).collect()
}

#[track_caller]
fn assert_close(actual: Option<f64>, expected: &serde_json::Value) {
    let (actual, expected) = (actual.unwrap(), expected.as_f64().unwrap());
    let tolerance = 1e-9 * expected.abs().max(1e-3);
    assert!((actual - expected).abs() <= tolerance, "{actual} is not {expected}");
}

#[track_caller]
fn assert_estimate<I>(estimate: Estimate, case: &Case<I>) {
    assert_close(estimate.value, &case.expected["value"]);
    assert_close(estimate.stderr, &case.expected["stderr"]);
    assert_close(estimate.lo, &case.expected["lo"]);
    assert_close(estimate.hi, &case.expected["hi"]);
}

#[track_caller]
fn assert_difference<I>(difference: PairedDifference, case: &Case<I>) {
    assert_close(difference.value, &case.expected["value"]);
    assert_close(difference.stderr, &case.expected["stderr"]);
    assert_close(difference.p, &case.expected["p"]);
}

#[derive(Deserialize)]
struct Scores {
    scores: Vec<f64>,
}

#[test]
fn means() {
    for case in cases::<Scores>(&["mean", "clustered"]) {
        let scores = &case.input.scores;
        assert_estimate(mean(scores, &case.clusters(scores.len())), &case);
    }
}

#[derive(Deserialize)]
struct Count {
    yes: usize,
    n: usize,
}

#[test]
fn proportions() {
    for case in cases::<Count>(&["proportion"]) {
        let outcomes: Vec<bool> = (0..case.input.n).map(|i| i < case.input.yes).collect();
        assert_estimate(proportion(&outcomes, &Clusters::singletons(outcomes.len())), &case);
    }
}

#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<bool>,
}

#[test]
fn clustered_proportions() {
    for case in cases::<Outcomes>(&["clustered_proportion"]) {
        let outcomes = &case.input.outcomes;
        assert_estimate(proportion(outcomes, &case.clusters(outcomes.len())), &case);
    }
}

#[derive(Deserialize)]
struct Ratio {
    numerators: Vec<f64>,
    denominators: Vec<f64>,
}

#[test]
fn ratios() {
    for case in cases::<Ratio>(&["ratio", "clustered_ratio"]) {
        let Ratio { numerators, denominators } = &case.input;
        let documents: Vec<(f64, f64)> =
            numerators.iter().copied().zip(denominators.iter().copied()).collect();
        assert_estimate(ratio(&documents, &case.clusters(documents.len())), &case);
    }
}

#[derive(Deserialize)]
struct Paired {
    first: Vec<f64>,
    second: Vec<f64>,
}

#[test]
fn paired_means() {
    for case in cases::<Paired>(&["paired", "clustered_paired"]) {
        let Paired { first, second } = &case.input;
        let pairs: Vec<(f64, f64)> = first.iter().copied().zip(second.iter().copied()).collect();
        let clusters = case.clusters(pairs.len());
        assert_difference(paired_mean(&pairs, &clusters), &case);
        let of_ones: Vec<(f64, f64, f64)> =
            pairs.iter().map(|&(first, second)| (first, second, 1.0)).collect();
        assert_difference(paired_ratio(&of_ones, &clusters), &case);
    }
}

#[derive(Deserialize)]
struct Discordant {
    both: usize,
    lost: usize,
    gained: usize,
    neither: usize,
}

#[test]
fn exact_mcnemar() {
    for case in cases::<Discordant>(&["mcnemar"]) {
        let Discordant { both, lost, gained, neither } = case.input;
        let pairs = [
            vec![(true, true); both],
            vec![(true, false); lost],
            vec![(false, true); gained],
            vec![(false, false); neither],
        ]
        .concat();
        assert_difference(paired_binary(&pairs, &Clusters::singletons(pairs.len())), &case);
    }
}

#[derive(Deserialize)]
struct PairedOutcomes {
    first: Vec<bool>,
    second: Vec<bool>,
}

#[test]
fn clustered_changes_of_outcomes() {
    for case in cases::<PairedOutcomes>(&["clustered_binary"]) {
        let PairedOutcomes { first, second } = &case.input;
        let pairs: Vec<(bool, bool)> = first.iter().copied().zip(second.iter().copied()).collect();
        assert_difference(paired_binary(&pairs, &case.clusters(pairs.len())), &case);
    }
}

#[derive(Deserialize)]
struct PValues {
    p: Vec<f64>,
}

#[test]
fn false_discovery_rates() {
    for case in cases::<PValues>(&["benjamini_hochberg"]) {
        let p: Vec<Option<f64>> = case.input.p.iter().copied().map(Some).collect();
        let expected = case.expected["adjusted"].as_array().unwrap();
        assert_eq!(expected.len(), p.len());
        for (adjusted, expected) in benjamini_hochberg(&p).into_iter().zip(expected) {
            assert_close(adjusted, expected);
        }
    }
}

#[derive(Deserialize)]
struct Tasks {
    tasks: Vec<Vec<bool>>,
}

#[test]
fn groups_pool_the_items_of_their_tasks() {
    for case in cases::<Tasks>(&["pooled"]) {
        let estimate = |outcomes: &Vec<bool>| {
            (proportion(outcomes, &Clusters::singletons(outcomes.len())), outcomes.len())
        };
        let tasks: Vec<(Estimate, usize)> = case.input.tasks.iter().map(estimate).collect();
        assert_estimate(pooled_mean(&tasks), &case);
    }
}

#[test]
fn differences_of_means_equal_welch_s_test() {
    for case in cases::<Paired>(&["combined"]) {
        let part = |weight: f64, scores: &[f64]| {
            let Estimate { value, stderr, .. } = mean(scores, &Clusters::singletons(scores.len()));
            WeightedEstimate { weight, value, stderr, degrees_of_freedom: scores.len() - 1 }
        };
        let parts = [part(1.0, &case.input.first), part(-1.0, &case.input.second)];
        assert_estimate(combined_estimate(&parts), &case);
        assert_difference(combined_difference(&parts), &case);
    }
}

#[test]
fn detectable_changes() {
    for case in cases::<Paired>(&["detectable"]) {
        let Paired { first, second } = &case.input;
        let pairs: Vec<(f64, f64)> = first.iter().copied().zip(second.iter().copied()).collect();
        let change = paired_mean(&pairs, &Clusters::singletons(pairs.len()));
        assert_close(minimum_detectable_effect(change.stderr), &case.expected["mde"]);
    }
}
