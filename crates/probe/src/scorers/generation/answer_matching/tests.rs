//! Tests of answers against lm-evaluation-harness's own functions. `scripts/fixtures/answers.py` writes the
//! fixture.

use serde_json::Value;

use super::*;
use crate::scorers::generation::answer_matching::AnswerVerdict;
use crate::tasks::generation_rules::{AnswerEquality, ExactMatch, FilterStep, GenerationRules, Pipeline};

fn fixture(name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("../../../../tests/fixtures/answers.json")).unwrap();
    let rows = all[name].as_array().unwrap().clone();
    assert!(!rows.is_empty());
    rows
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|value| text(value).to_owned()).collect()
}

#[test]
fn exact_match_disregards_what_the_harness_disregards() {
    for row in fixture("exact_match") {
        let rule: ExactMatch = serde_json::from_value(row[0].clone()).unwrap();
        let equality = AnswerEquality::ExactMatch(rule);
        assert_eq!(equality.holds(text(&row[1]), text(&row[2])).unwrap(), row[3], "{row}");
    }
}

#[test]
fn filters_leave_what_the_harness_leaves() {
    for row in fixture("filters") {
        let steps: Vec<FilterStep> = serde_json::from_value(row[0].clone()).unwrap();
        let pipeline = Pipeline { name: "f".into(), steps };
        assert_eq!(pipeline.apply(&texts(&row[1]), &texts(&row[2])).unwrap(), texts(&row[3]), "{row}");
    }
}

#[test]
fn formulas_are_compared_as_math_compares_them() {
    for row in fixture("equivalent") {
        assert_eq!(is_equivalent(text(&row[0]), text(&row[1])), row[2], "{row}");
    }
    for row in fixture("boxed") {
        assert_eq!(boxed(text(&row[0])), row[1].as_str(), "{row}");
    }
    for row in fixture("math") {
        assert_eq!(AnswerEquality::Math.holds(text(&row[0]), text(&row[1])).unwrap(), row[2], "{row}");
    }
}

#[test]
fn words_are_compared_as_squad_compares_them() {
    for row in fixture("f1") {
        let (f1, expected) = (token_f1(text(&row[0]), text(&row[1])), row[2].as_f64().unwrap());
        assert!((f1 - expected).abs() < 1e-12, "{row}: {f1}");
    }
    assert!(AnswerEquality::Words.holds("The  Beatles!", "beatles").unwrap());
    assert!(!AnswerEquality::Words.holds("beatle", "beatles").unwrap());
}

#[test]
fn the_best_of_the_accepted_answers_counts() {
    let rules = GenerationRules { token_f1: true, ..GenerationRules::default() };
    let accepted = ["the red house".to_owned(), "house".to_owned()];
    assert_eq!(rules.judge("house", &accepted).unwrap(), AnswerVerdict { correct: true, score: Some(1.0) });
    let verdict = rules.judge("a red car", &accepted).unwrap();
    assert_eq!(verdict, AnswerVerdict { correct: false, score: Some(0.5) });
    let plain = GenerationRules::default();
    assert_eq!(plain.judge("x", &accepted).unwrap(), AnswerVerdict { correct: false, score: None });
}

#[test]
fn a_step_needs_its_attempts() {
    let pipeline = |k| Pipeline {
        name: "vote".into(),
        steps: vec![FilterStep::TakeFirstK { k }, FilterStep::MajorityVote],
    };
    assert_eq!(pipeline(4).problem(4), None);
    assert!(pipeline(5).problem(4).unwrap().contains("`vote`: expected k from 1 to 4"));
    assert!(pipeline(0).problem(4).is_some());
}

#[test]
fn a_box_is_opened() {
    let open = Pipeline { name: "boxed".into(), steps: vec![FilterStep::Boxed] };
    assert_eq!(open.apply(&["so $\\boxed{x^{2}}$".into(), "7".into()], &[]).unwrap(), ["x^{2}", "7"]);
}
