//! Against scipy and statsmodels: the golden numbers of `scripts/fixtures/dynamics.py`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use fineline_dynamics::{
    Difference, Estimate, benjamini_hochberg, clustered_mean, mean, minimum_detectable_effect, paired_binary,
    paired_mean, proportion, ratio,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Case<I> {
    #[serde(flatten)]
    input: I,
    #[serde(flatten)]
    expected: serde_json::Map<String, serde_json::Value>,
}

fn cases<I: DeserializeOwned>(section: &str) -> Vec<Case<I>> {
    let fixtures: serde_json::Value = serde_json::from_str(include_str!("fixtures/reference.json")).unwrap();
    serde_json::from_value(fixtures[section].clone()).unwrap()
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
fn assert_difference<I>(difference: Difference, case: &Case<I>) {
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
    for case in cases::<Scores>("mean") {
        assert_estimate(mean(&case.input.scores), &case);
    }
}

#[derive(Deserialize)]
struct Count {
    yes: usize,
    n: usize,
}

#[test]
fn proportions() {
    for case in cases::<Count>("proportion") {
        let outcomes: Vec<bool> = (0..case.input.n).map(|i| i < case.input.yes).collect();
        assert_estimate(proportion(&outcomes), &case);
    }
}

#[derive(Deserialize)]
struct Clustered {
    clusters: Vec<u32>,
    scores: Vec<f64>,
}

#[test]
fn clustered_means() {
    for case in cases::<Clustered>("clustered") {
        let Clustered { clusters, scores } = &case.input;
        let scores: Vec<(u32, f64)> = clusters.iter().copied().zip(scores.iter().copied()).collect();
        assert_estimate(clustered_mean(&scores), &case);
    }
}

#[derive(Deserialize)]
struct Ratio {
    numerators: Vec<f64>,
    denominators: Vec<f64>,
}

#[test]
fn ratios() {
    for case in cases::<Ratio>("ratio") {
        let Ratio { numerators, denominators } = &case.input;
        let documents: Vec<(f64, f64)> =
            numerators.iter().copied().zip(denominators.iter().copied()).collect();
        assert_estimate(ratio(&documents), &case);
    }
}

#[derive(Deserialize)]
struct Paired {
    first: Vec<f64>,
    second: Vec<f64>,
}

#[test]
fn paired_means() {
    for case in cases::<Paired>("paired") {
        let Paired { first, second } = &case.input;
        let pairs: Vec<(f64, f64)> = first.iter().copied().zip(second.iter().copied()).collect();
        assert_difference(paired_mean(&pairs), &case);
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
    for case in cases::<Discordant>("mcnemar") {
        let Discordant { both, lost, gained, neither } = case.input;
        let pairs = [
            vec![(true, true); both],
            vec![(true, false); lost],
            vec![(false, true); gained],
            vec![(false, false); neither],
        ]
        .concat();
        assert_difference(paired_binary(&pairs), &case);
    }
}

#[derive(Deserialize)]
struct PValues {
    p: Vec<f64>,
}

#[test]
fn false_discovery_rates() {
    for case in cases::<PValues>("benjamini_hochberg") {
        let p: Vec<Option<f64>> = case.input.p.iter().copied().map(Some).collect();
        let expected = case.expected["adjusted"].as_array().unwrap();
        assert_eq!(expected.len(), p.len());
        for (adjusted, expected) in benjamini_hochberg(&p).into_iter().zip(expected) {
            assert_close(adjusted, expected);
        }
    }
}

#[derive(Deserialize)]
struct Design {
    sd: f64,
    items: usize,
    power: f64,
}

#[test]
fn detectable_effects() {
    for case in cases::<Design>("power") {
        let Design { sd, items, power } = case.input;
        let effect = minimum_detectable_effect(sd, items, power).unwrap();
        let expected = case.expected["effect"].as_f64().unwrap();
        assert!((effect / expected - 1.0).abs() < 1e-4, "{effect} is not {expected}");
    }
}
