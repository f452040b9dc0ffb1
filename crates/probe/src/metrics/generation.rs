//! Metrics of generated answers, computed from their rows.
//!
//! An item has one row for each answer that a filter extracted from its attempts. Of `n` rows, `c` are
//! correct:
//!
//! | metric | kinds | per item | over items |
//! |---|---|---|---|
//! | `exact_match` | generation | `c / n` | proportion; mean, where an item has several answers |
//! | `f1` | generation with `f1` enabled | mean over the answers | mean |
//! | `pass@k` | code; generation with several answers | `1 − C(n − c, k) / C(n, k)` | as `exact_match` |
//!
//! `pass@k` is the unbiased estimator of Chen et al., 2021 (arXiv 2107.03374, equation 1), for each `k` up to
//! `n` that is a power of two or of ten, and for `n`. Metrics of all filters but the first have the name of
//! the filter after a comma: `exact_match,flexible-extract`.

use std::collections::{BTreeMap, BTreeSet};

use fineline_dynamics::{Clusters, Estimate, mean, proportion};

use crate::items::item_row::ItemRow;
use crate::metrics::item_score::ItemValue;
use crate::tasks::kind::TaskKind;

/// A quantity of the answers to an item that one filter extracted.
#[derive(Clone, Copy, Debug)]
enum AnswerMeasure {
    /// Fraction of correct answers.
    Right,
    /// Mean score of the answers.
    F1,
    /// Probability that at least one of this many answers is correct.
    PassAt(usize),
}

/// All metrics of a task with generated answers. `items` are the rows of each item.
pub(crate) fn answer_metrics(items: &[&[ItemRow]], clusters: &Clusters) -> BTreeMap<String, Estimate> {
    measures(items)
        .into_iter()
        .map(|(name, filter, measure)| (name, estimate(&scores(items, filter, measure), clusters)))
        .collect()
}

/// Contribution of each item to the metric of this name.
pub(crate) fn answer_scores(items: &[&[ItemRow]], metric: &str) -> Option<Vec<ItemValue>> {
    let (_, filter, measure) = measures(items).into_iter().find(|(name, ..)| name == metric)?;
    Some(scores(items, filter, measure))
}

/// The metrics of the items: name, filter, and measure.
fn measures<'a>(items: &[&'a [ItemRow]]) -> Vec<(String, Option<&'a str>, AnswerMeasure)> {
    let Some(first) = items.first() else { return Vec::new() };
    let mut measures = Vec::new();
    for (number, filter) in filters(first).into_iter().enumerate() {
        let suffix = filter.filter(|_| number > 0).map_or_else(String::new, |filter| format!(",{filter}"));
        let mut add = |name: String, measure| measures.push((name + &suffix, filter, measure));
        if first[0].kind == TaskKind::Generation {
            add("exact_match".to_owned(), AnswerMeasure::Right);
        }
        if first[0].score.is_some() {
            add("f1".to_owned(), AnswerMeasure::F1);
        }
        for k in attempts_to_tell(items, filter) {
            add(format!("pass@{k}"), if k == 1 { AnswerMeasure::Right } else { AnswerMeasure::PassAt(k) });
        }
    }
    measures
}

fn scores(items: &[&[ItemRow]], filter: Option<&str>, measure: AnswerMeasure) -> Vec<ItemValue> {
    let items: Vec<Vec<&ItemRow>> = items.iter().map(|item| answers(item, filter)).collect();
    let are_single = items.iter().all(|item| item.len() == 1);
    let score = |item: &Vec<&ItemRow>| match measure {
        AnswerMeasure::Right if are_single => ItemValue::Outcome(item[0].correct),
        AnswerMeasure::Right => ItemValue::Real(right(item) as f64 / item.len() as f64),
        AnswerMeasure::F1 => ItemValue::Real(mean_score(item).unwrap_or(f64::NAN)),
        AnswerMeasure::PassAt(k) => ItemValue::Real(pass_at(k, item.len(), right(item))),
    };
    items.iter().map(score).collect()
}

fn estimate(scores: &[ItemValue], clusters: &Clusters) -> Estimate {
    let outcome = |score: &ItemValue| if let ItemValue::Outcome(outcome) = score { *outcome } else { None };
    if let Some(outcomes) = scores.iter().map(outcome).collect::<Option<Vec<bool>>>() {
        return proportion(&outcomes, clusters);
    }
    let real = |score: &ItemValue| if let ItemValue::Real(value) = score { *value } else { f64::NAN };
    mean(&scores.iter().map(real).collect::<Vec<_>>(), clusters)
}

/// The filters of an item's rows, in order.
fn filters(item: &[ItemRow]) -> Vec<Option<&str>> {
    let mut seen = BTreeSet::new();
    item.iter().map(|row| row.filter.as_deref()).filter(|filter| seen.insert(*filter)).collect()
}

fn answers<'a>(item: &'a [ItemRow], filter: Option<&str>) -> Vec<&'a ItemRow> {
    item.iter().filter(|row| row.filter.as_deref() == filter).collect()
}

fn right(answers: &[&ItemRow]) -> usize {
    answers.iter().filter(|row| row.correct == Some(true)).count()
}

fn mean_score(answers: &[&ItemRow]) -> Option<f64> {
    let scores = answers.iter().map(|row| row.score).collect::<Option<Vec<f64>>>()?;
    Some(scores.iter().sum::<f64>() / scores.len() as f64)
}

/// Values of `k` for which `pass@k` is reported.
fn attempts_to_tell(items: &[&[ItemRow]], filter: Option<&str>) -> BTreeSet<usize> {
    let answers = items.iter().map(|item| answers(item, filter).len()).min().unwrap_or(0);
    if items[0][0].kind == TaskKind::Generation && answers == 1 {
        return BTreeSet::new();
    }
    let powers = |base: usize| std::iter::successors(Some(1), move |power| Some(power * base));
    let up_to = move |&k: &usize| k <= answers;
    powers(2).take_while(up_to).chain(powers(10).take_while(up_to)).chain([answers]).collect()
}

/// Probability that at least one of `k` attempts, drawn from `n` of which `c` are correct, is correct: `1 −
/// Π_{i = n − c + 1}^{n} (1 − k / i)`.
fn pass_at(k: usize, n: usize, c: usize) -> f64 {
    if n - c < k {
        return 1.0;
    }
    1.0 - (n - c + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::item_row::tests::row;
    use crate::metrics::{item_scores, metrics};

    fn answer(kind: TaskKind, item: u32, choice: u32, correct: bool) -> ItemRow {
        ItemRow { correct: Some(correct), text: Some("x".into()), ..row(kind, item, choice, 0, -1.0) }
    }

    fn named(row: ItemRow, filter: &str) -> ItemRow {
        ItemRow { filter: Some(filter.into()), ..row }
    }

    #[track_caller]
    fn assert_value(metrics: &BTreeMap<String, Estimate>, name: &str, expected: f64) {
        let value = metrics[name].value.unwrap();
        assert!((value - expected).abs() < 1e-12, "{name} is {value}, not {expected}");
    }

    #[test]
    fn each_filter_has_its_metrics() {
        let rows: Vec<ItemRow> = (0..4)
            .flat_map(|item| {
                let answer = |correct| answer(TaskKind::Generation, item, 0, correct);
                [named(answer(item == 0), "strict"), named(answer(item < 3), "loose")]
            })
            .collect();
        let metrics = metrics(&rows);
        assert_eq!(metrics.keys().collect::<Vec<_>>(), ["exact_match", "exact_match,loose"]);
        assert_value(&metrics, "exact_match", 0.25);
        assert_value(&metrics, "exact_match,loose", 0.75);
        // A proportion: Wilson's interval, which is not symmetric.
        let loose = metrics["exact_match,loose"];
        assert!(loose.hi.unwrap() - 0.75 < 0.75 - loose.lo.unwrap());
    }

    #[test]
    fn scores_are_averaged() {
        let scored =
            |item, score| ItemRow { score: Some(score), ..answer(TaskKind::Generation, item, 0, false) };
        let metrics = metrics(&[scored(0, 0.5), scored(1, 1.0)]);
        assert_value(&metrics, "f1", 0.75);
        assert_eq!(metrics.len(), 2);
    }

    /// `1 − C(n − c, k) / C(n, k)` by counting; the last by Python's `math.comb`.
    #[test]
    fn passing_is_told_for_several_attempts() {
        assert!((pass_at(2, 5, 2) - (1.0 - 3.0 / 10.0)).abs() < 1e-12);
        assert!((pass_at(1, 7, 3) - 3.0 / 7.0).abs() < 1e-12);
        assert!((pass_at(3, 5, 3) - 1.0).abs() < 1e-12 && pass_at(10, 200, 0).abs() < 1e-12);
        assert!((pass_at(100, 200, 5) - 0.970_308_394_765_706_7).abs() < 1e-12);
        let rows: Vec<ItemRow> = (0..2)
            .flat_map(|item| {
                (0..5).map(move |choice| answer(TaskKind::Code, item, choice, item == 0 && choice < 2))
            })
            .collect();
        let metrics = metrics(&rows);
        assert_eq!(metrics.keys().collect::<Vec<_>>(), ["pass@1", "pass@2", "pass@4", "pass@5"]);
        assert_value(&metrics, "pass@1", 0.2);
        assert_value(&metrics, "pass@2", 0.35);
        assert_value(&metrics, "pass@5", 0.5);
    }

    #[test]
    fn one_attempt_at_code_is_a_proportion() {
        let rows: Vec<ItemRow> = (0..10).map(|item| answer(TaskKind::Code, item, 0, item < 1)).collect();
        let pass = metrics(&rows)["pass@1"];
        assert_eq!(metrics(&rows).len(), 1);
        assert!(pass.lo.unwrap() > 0.0, "Wilson's interval");
    }

    #[test]
    fn what_items_contribute_is_that_of_the_metric() {
        let named = |item, filter, correct| named(answer(TaskKind::Generation, item, 0, correct), filter);
        let rows: Vec<ItemRow> =
            (0..3).flat_map(|item| [named(item, "strict", item == 0), named(item, "loose", true)]).collect();
        let outcomes = |metric| -> Vec<ItemValue> {
            item_scores(&rows, metric).unwrap().into_iter().map(|item| item.score).collect()
        };
        let [yes, no] = [true, false].map(|right| ItemValue::Outcome(Some(right)));
        assert_eq!(outcomes("exact_match"), [yes, no, no]);
        assert_eq!(outcomes("exact_match,loose"), [yes, yes, yes]);
        assert!(item_scores(&rows, "f1").is_none());
        let attempts: Vec<ItemRow> = (0..4).map(|i| answer(TaskKind::Code, 0, i, i == 1)).collect();
        assert_eq!(item_scores(&attempts, "pass@1").unwrap()[0].score, ItemValue::Real(0.25));
    }
}
