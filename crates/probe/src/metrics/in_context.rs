//! Metrics of in-context tasks, whose rows are the answers of an item: row `k` is the answer after `k`
//! examples.

use crate::items::item_row::ItemRow;
use crate::metrics::item_metric::{ItemMeasure, ItemMetric, loss, metric};

/// Numbers of examples with their own metrics.
const EXAMPLES: [u32; 7] = [0, 1, 2, 4, 8, 16, 32];

/// Number of metrics for each of [`EXAMPLES`].
const METRICS_EACH: usize = 3;

macro_rules! after {
    ($($examples:literal),*) => {
        &[$(
            loss(concat!("nats_at_", $examples), ItemMeasure::Score(|item| nats_after(item, $examples))),
            metric(
                concat!("acc_at_", $examples),
                ItemMeasure::Outcome(|item| is_right_after(item, $examples)),
            ),
            loss(
                concat!("excess_nats_at_", $examples),
                ItemMeasure::Score(|item| excess_after(item, $examples)),
            ),
        )*]
    };
}

/// In the order of [`EXAMPLES`].
pub(super) const AFTER: &[ItemMetric] = after!(0, 1, 2, 4, 8, 16, 32);

/// Metrics of complete items.
pub(super) const OF_ITEMS: &[ItemMetric] = &[
    metric("acc", ItemMeasure::Outcome(|item| item.last().and_then(is_right))),
    metric("icl_gain", ItemMeasure::Score(|item| nats_after(item, 0) - late_nats(item))),
    loss("late_nats", ItemMeasure::Score(late_nats)),
];

/// Metrics after each number of examples up to `most`.
pub(super) fn after_examples(most: u32) -> &'static [ItemMetric] {
    let counts = EXAMPLES.iter().filter(|&&examples| examples <= most).count();
    &AFTER[..METRICS_EACH * counts]
}

fn row(item: &[ItemRow], examples: u32) -> Option<&ItemRow> {
    item.iter().find(|row| row.choice == examples)
}

fn nats_after(item: &[ItemRow], examples: u32) -> f64 {
    row(item, examples).map_or(f64::NAN, |row| -row.logprob)
}

fn is_right_after(item: &[ItemRow], examples: u32) -> Option<bool> {
    row(item, examples).and_then(is_right)
}

fn is_right(row: &ItemRow) -> Option<bool> {
    row.logprob.is_finite().then_some(row.greedy)
}

/// Nats in excess of the optimal learner's.
fn excess_after(item: &[ItemRow], examples: u32) -> f64 {
    row(item, examples).map_or(f64::NAN, |row| row.optimal_logprob.unwrap_or(f64::NAN) - row.logprob)
}

/// Mean over the last quarter of the answers.
fn late_nats(item: &[ItemRow]) -> f64 {
    let late = &item[item.len() - item.len().div_ceil(4)..];
    -late.iter().map(|row| row.logprob).sum::<f64>() / late.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::item_row::tests::row;
    use crate::metrics::metrics;
    use crate::tasks::kind::TaskKind;

    fn item(index: u32, nats: &[f64], right: &[bool]) -> Vec<ItemRow> {
        let row = |(choice, (&nats, &greedy)): (usize, (&f64, &bool))| ItemRow {
            greedy,
            optimal_logprob: Some(-0.5),
            ..row(TaskKind::InContext, index, choice as u32, nats_len(right), -nats)
        };
        nats.iter().zip(right).enumerate().map(row).collect()
    }

    fn nats_len(right: &[bool]) -> u32 {
        right.len() as u32 - 1
    }

    #[test]
    fn the_curve_is_a_mean_after_each_number_of_examples() {
        let (yes, no) = (true, false);
        let rows = [
            item(0, &[4.0, 3.0, 2.0, 2.5, 1.0, 0.5], &[no, no, yes, no, yes, yes]),
            item(1, &[6.0, 4.0, 1.0, 0.5, 2.0, 1.5], &[no, yes, yes, no, no, no]),
        ]
        .concat();
        let metrics = metrics(&rows);
        let value = |name: &str| metrics[name].value.unwrap();
        for (name, expected) in [
            ("nats_at_0", 5.0),
            ("nats_at_1", 3.5),
            ("nats_at_2", 1.5),
            ("nats_at_4", 1.5),
            ("acc_at_0", 0.0),
            ("acc_at_1", 0.5),
            ("acc_at_2", 1.0),
            ("acc_at_4", 0.5),
            ("excess_nats_at_1", 3.0),
            ("acc", 0.5),
            // 0.75 and 1.75: the last two of six.
            ("late_nats", 1.25),
            ("icl_gain", 3.75),
        ] {
            assert!((value(name) - expected).abs() < 1e-12, "{name} is {}", value(name));
        }
        assert_eq!(metrics.len(), 3 + 4 * METRICS_EACH, "{:?}", metrics.keys());
        // The standard error is that of the per-item differences: half of 4.25 − 3.25.
        assert!((metrics["icl_gain"].stderr.unwrap() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn what_is_not_finite_is_unknown_where_it_is_needed() {
        let rows = item(0, &[f64::NAN, 1.0, 1.0], &[true; 3]);
        let metrics = metrics(&rows);
        for name in ["nats_at_0", "acc_at_0", "excess_nats_at_0", "icl_gain"] {
            assert_eq!(metrics[name].value, None, "{name}");
        }
        assert_eq!((metrics["late_nats"].value, metrics["acc"].value), (Some(1.0), Some(1.0)));
    }
}
