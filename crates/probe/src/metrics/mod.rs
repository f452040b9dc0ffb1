//! Metrics, computed from item rows alone.
//!
//! Notation: `ℓ_i` is the log-likelihood of choice `i` in nats, `C_i` its number of characters, `B_i` its
//! number of bytes (both without the space before it), `g` the correct choice.
//! `T_i` is the number of its scored tokens, which in a full prompt are all but the first, and `u_i` its
//! log-likelihood after the context shared by all items. If several choices are correct, accuracies accept
//! any of them.
//!
//! | metric | kinds | per item | over items |
//! |---|---|---|---|
//! | `acc` | multiple choice | `argmax ℓ_i = g`; of equal ones the first | proportion |
//! | `acc` | greedy match | every token of the answer is the most likely one | proportion |
//! | `acc` | full prompt | `argmin c_i = g` with `c_i = −ℓ_i / (T_i + 1)` | proportion |
//! | `acc` | suffix | `argmin c_i = g` with `c_i = −ℓ_i / T_i` | proportion |
//! | `acc_norm` | multiple choice | `argmax ℓ_i / C_i = g` | proportion |
//! | `acc_bytes` | multiple choice | `argmax ℓ_i / B_i = g` | proportion |
//! | `acc_mutual_info` | multiple choice with `unconditional` | `argmax (ℓ_i − u_i) = g` | proportion |
//! | `prob_of_right` | with several correct choices | `Σ softmax(ℓ)_i` over them | mean |
//! | `prob`, `log_prob` | multiple choice | `softmax(ℓ)_g`, its logarithm | mean |
//! | `prob` | full prompt, suffix | `softmax(−c)_g` | mean |
//! | `brier` | multiple choice | `Σ (softmax(ℓ)_i − [i = g])²` | mean |
//! | `prob_per_char` | multiple choice | `softmax(ℓ / C)_g` | mean |
//! | `correct_prob_per_char` | multiple choice | `P_g`, where `P_i = exp(ℓ_i / C_i)` | mean |
//! | `total_prob_per_char` | multiple choice | `Σ P_i` | mean |
//! | `margin_per_char` | multiple choice | `P_g − max P_i` over `i ≠ g` | mean |
//! | `mean_ce` | full prompt, suffix | `c_g` | mean |
//! | `bits_per_byte` | multiple choice, greedy match | `−ℓ_g / (B_g ln 2)` | mean |
//! | `bits_per_byte` | perplexity | `−ℓ`, `B ln 2`; `ℓ` without tokens that have no bytes | ratio of sums |
//! | `byte_perplexity` | perplexity | `−ℓ`, `B`; likewise | exp of the ratio of sums |
//! | `token_perplexity`, `word_perplexity` | perplexity | `−ℓ`, tokens, words | exp of the ratio of sums |
//! | `perplexity` | greedy match | `−ℓ` | exp of the mean |
//! | `nats_at_k` | in context | `−ℓ_k`, of the answer after `k` examples | mean |
//! | `acc_at_k`, `acc` | in context | every token of the answer is the most likely one | proportion |
//! | `excess_nats_at_k` | in context | `o_k − ℓ_k`, `o_k` the optimal learner's log-probability | mean |
//! | `late_nats` | in context | mean of `−ℓ_k` over the last quarter of the answers | mean |
//! | `icl_gain` | in context | `−ℓ_0` minus `late_nats` | mean |
//!
//! The accuracies of multiple choice and greedy match, `brier`, `perplexity` and the rolling metrics are
//! those of lm-evaluation-harness (`ConfigurableTask.process_results`, version 0.4.13, where `brier` is
//! `brier_score`). `log_prob` is `soft_log` of AI2's in-loop evaluation. The `..._per_char` metrics are those
//! of `DataDecide` (`prob_per_char`: `norm_correct_prob_per_char`; `prob`: `norm_correct_prob`). The full
//! prompt's `acc` is that of `OpenCompass` (`HuggingFace._get_ppl`, which divides the sum over the scored
//! tokens by the number of all tokens), the suffix's that of CORE (`evaluate_example` of nanochat).
//!
//! Standard errors are clustered by the items' clusters. If a log-likelihood is not finite, the metrics that
//! need it are unknown as a whole: skipping the item would change the task.

// Items and their scores.
pub(crate) mod item_rows;
pub(crate) mod item_score;

// The type of a metric.
pub(crate) mod item_metric;

// Quantities of an item.
mod choice_score;

// Quantities of the correct choice.
mod accuracy;
mod loss;

// Quantities of all choices.
mod probability;

// Metrics by kind of task.
mod generation;
mod greedy_match;
mod in_context;
mod mean_ce;
mod multiple_choice;
mod perplexity;
pub(crate) mod similarity;

use std::collections::BTreeMap;

use fineline_dynamics::{Clusters, Estimate, Observation};

use crate::items::item_row::ItemRow;
use crate::metrics::generation::{answer_metrics, answer_scores};
use crate::metrics::greedy_match::GREEDY_MATCH;
use crate::metrics::item_metric::ItemMetric;
use crate::metrics::item_rows::cluster_labels;
use crate::metrics::item_rows::rows_by_item;
use crate::metrics::item_score::{ItemScore, ItemValue};
use crate::metrics::mean_ce::{FULL_PROMPT, SUFFIX};
use crate::metrics::multiple_choice::{MULTIPLE_CHOICE, MUTUAL_INFORMATION, SEVERAL_RIGHT};
use crate::metrics::perplexity::{OF_WORDS, PERPLEXITY};
use crate::tasks::kind::TaskKind;

/// The metrics of the task to which `row` belongs, in the order of its table.
fn metrics_of(row: &ItemRow) -> impl Iterator<Item = &'static ItemMetric> {
    let (always, if_known): (&[ItemMetric], &[ItemMetric]) = match row.kind {
        TaskKind::MultipleChoice if row.unconditional_logprob.is_some() => {
            (MULTIPLE_CHOICE, MUTUAL_INFORMATION)
        }
        TaskKind::MultipleChoice if row.correct.is_some() => (MULTIPLE_CHOICE, SEVERAL_RIGHT),
        TaskKind::MultipleChoice => (MULTIPLE_CHOICE, &[]),
        TaskKind::GreedyMatch => (GREEDY_MATCH, &[]),
        TaskKind::Perplexity if row.n_words.is_some() => (PERPLEXITY, OF_WORDS),
        TaskKind::Perplexity => (PERPLEXITY, &[]),
        TaskKind::FullPromptMeanCe => (FULL_PROMPT, &[]),
        TaskKind::SuffixMeanCe => (SUFFIX, &[]),
        TaskKind::InContext => (in_context::OF_ITEMS, in_context::after_examples(row.gold)),
        // `generation` has the metrics of generated answers. Representations have no rows: see `similarity`.
        TaskKind::Generation | TaskKind::Code | TaskKind::Representation => (&[], &[]),
    };
    always.iter().chain(if_known)
}

/// All tables of metrics of items.
const TABLES: [&[ItemMetric]; 10] = [
    MULTIPLE_CHOICE,
    MUTUAL_INFORMATION,
    SEVERAL_RIGHT,
    GREEDY_MATCH,
    PERPLEXITY,
    OF_WORDS,
    FULL_PROMPT,
    SUFFIX,
    in_context::OF_ITEMS,
    in_context::AFTER,
];

/// Whether greater values of the metric are better.
#[must_use]
pub fn higher_is_better(metric: &str) -> bool {
    // Higher is better for metrics that are in no table, such as `exact_match`.
    TABLES.into_iter().flatten().find(|known| known.name == metric).is_none_or(|known| known.higher_is_better)
}

/// Computes every metric of a task, with error bars, from the task's rows. The rows of an item are adjacent,
/// its choices in order.
#[must_use]
pub fn metrics(rows: &[ItemRow]) -> BTreeMap<String, Estimate> {
    let Some(first) = rows.first() else { return BTreeMap::new() };
    let items: Vec<&[ItemRow]> = rows_by_item(rows).collect();
    let clusters = Clusters::of(cluster_labels(rows));
    if first.kind.is_written() {
        return answer_metrics(&items, &clusters);
    }
    let estimate = |metric: &ItemMetric| {
        (metric.name.to_owned(), (metric.finish)(metric.measure.estimate(&items, &clusters)))
    };
    metrics_of(first).map(estimate).collect()
}

/// The series that [`fineline_dynamics::phases`] follows: the probability of the gold choice (multiple
/// choice) or its bits per byte, and the accuracy that is compared with chance.
pub(crate) fn observation(kind: TaskKind, metrics: &BTreeMap<String, Estimate>) -> Observation {
    let get = |name| metrics.get(name).copied().unwrap_or_default();
    match kind {
        TaskKind::MultipleChoice => Observation { score: get("prob_per_char"), accuracy: get("acc") },
        TaskKind::FullPromptMeanCe | TaskKind::SuffixMeanCe => {
            Observation { score: get("prob"), accuracy: get("acc") }
        }
        TaskKind::GreedyMatch => {
            Observation { score: get("bits_per_byte").scaled(-1.0), accuracy: get("acc") }
        }
        TaskKind::InContext => Observation { score: get("late_nats").scaled(-1.0), accuracy: get("acc") },
        // The similarity of representations is neither good nor bad.
        TaskKind::Representation => Observation { score: Estimate::UNKNOWN, accuracy: Estimate::UNKNOWN },
        TaskKind::Perplexity => {
            Observation { score: get("bits_per_byte").scaled(-1.0), accuracy: Estimate::UNKNOWN }
        }
        TaskKind::Generation | TaskKind::Code => {
            let right = get(kind.primary_metric());
            Observation { score: right, accuracy: right }
        }
    }
}

/// Contribution of each item to a metric. `None` without items, or if they have no such metric.
pub(crate) fn item_scores(rows: &[ItemRow], metric: &str) -> Option<Vec<ItemScore>> {
    let first = rows.first()?;
    let items: Vec<&[ItemRow]> = rows_by_item(rows).collect();
    let scores: Vec<ItemValue> = if first.kind.is_written() {
        answer_scores(&items, metric)?
    } else {
        let measure = metrics_of(first).find(|known| known.name == metric)?.measure;
        items.iter().map(|item| measure.of(item)).collect()
    };
    let score = |(item, score): (&[ItemRow], ItemValue)| ItemScore {
        item: item[0].item,
        cluster: item[0].cluster,
        score,
    };
    Some(items.into_iter().zip(scores).map(score).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::item_row::tests::row;
    use crate::results::comparison::{TaskScores, compare};
    use fineline_dynamics::proportion;
    use proptest::prelude::*;
    use std::f64::consts::LN_2;

    fn choices(item: u32, gold: u32, scores: &[(f64, u32)]) -> Vec<ItemRow> {
        let row = |(choice, &(logprob, n_chars)): (usize, &(f64, u32))| ItemRow {
            n_chars,
            n_bytes: 2 * n_chars,
            ..row(TaskKind::MultipleChoice, item, choice as u32, gold, logprob)
        };
        scores.iter().enumerate().map(row).collect()
    }

    #[track_caller]
    fn assert_value(rows: &[ItemRow], metric: &str, expected: f64) {
        let value = metrics(rows)[metric].value.unwrap();
        assert!((value - expected).abs() < 1e-12, "{metric} is {value}, not {expected}");
    }

    /// Two items computed by hand: −3/3 = −1 beats −4/2 = −2, and −6/6 = −1 beats −2/1 = −2.
    #[test]
    fn multiple_choice() {
        let rows = [choices(0, 0, &[(-3.0, 3), (-4.0, 2)]), choices(1, 0, &[(-6.0, 6), (-2.0, 1)])].concat();
        assert_value(&rows, "acc", 0.5);
        assert_value(&rows, "acc_norm", 1.0);
        let e = 1.0_f64.exp();
        let (first, second) = (1.0 / (1.0 + 1.0 / e), 1.0 / (1.0 + e.powi(4)));
        assert_value(&rows, "prob", f64::midpoint(first, second));
        assert_value(&rows, "prob_per_char", 1.0 / (1.0 + 1.0 / e));
        assert_value(&rows, "log_prob", f64::midpoint(first.ln(), second.ln()));
        let (one, other) = (2.0 * (1.0 - first).powi(2), 2.0 * (1.0 - second).powi(2));
        assert_value(&rows, "brier", f64::midpoint(one, other));
        assert_value(&rows, "correct_prob_per_char", 1.0 / e);
        assert_value(&rows, "total_prob_per_char", 1.0 / e + 1.0 / (e * e));
        assert_value(&rows, "margin_per_char", 1.0 / e - 1.0 / (e * e));
        assert_value(&rows, "bits_per_byte", 0.5 / LN_2);
        assert!(!metrics(&rows).contains_key("acc_mutual_info"), "what is not defined is not there");
        let acc = metrics(&rows)["acc"];
        assert_eq!(acc, proportion(&[true, false], &Clusters::singletons(2)));
    }

    /// Three letters against one Chinese character of three bytes: −1.1 beats −2.4 per character, −0.8 beats
    /// −1.1 per byte.
    #[test]
    fn lengths_in_characters_and_bytes_differ() {
        let [mut rows] = [choices(0, 1, &[(-3.3, 3), (-2.4, 1)])];
        rows[0].n_bytes = 3;
        rows[1].n_bytes = 3;
        assert_value(&rows, "acc_norm", 0.0);
        assert_value(&rows, "acc_bytes", 1.0);
        assert_value(&rows, "bits_per_byte", 0.8 / LN_2);
    }

    #[test]
    fn mutual_information_is_what_the_context_adds() {
        let mut rows = choices(0, 1, &[(-3.0, 1), (-5.0, 1), (-4.0, 1)]);
        for (row, unconditional) in rows.iter_mut().zip([-3.5, -8.0, -7.0]) {
            row.unconditional_logprob = Some(unconditional);
        }
        assert_value(&rows, "acc_mutual_info", 1.0);
        assert_value(&rows, "acc", 0.0);
        rows[2].unconditional_logprob = Some(f64::NAN);
        assert_eq!(metrics(&rows)["acc_mutual_info"], Estimate::UNKNOWN);
        assert_value(&rows, "acc", 0.0);
    }

    /// −9/9 = −1 beats −6/5 = −1.2: the sum over the scored tokens, divided by their number.
    #[test]
    fn the_suffix_is_averaged_over_its_tokens() {
        let suffix = |choice, logprob, n_tokens| ItemRow {
            n_tokens,
            ..row(TaskKind::SuffixMeanCe, 0, choice, 0, logprob)
        };
        let rows = [suffix(0, -9.0, 9), suffix(1, -6.0, 5)];
        assert_value(&rows, "acc", 1.0);
        assert_value(&rows, "mean_ce", 1.0);
        assert_value(&rows, "prob", 1.0 / (1.0 + (-0.2_f64).exp()));
        let broken = metrics(&[suffix(0, -9.0, 9), suffix(1, f64::NAN, 5)]);
        assert_eq!(broken["acc"], Estimate::UNKNOWN);
    }

    /// −9/(8 + 1) = −1 beats −6/(4 + 1) = −1.2: the sum over the predicted tokens, divided by the number of
    /// all tokens.
    #[test]
    fn the_full_prompt_is_averaged_over_all_of_its_tokens() {
        let prompt = |choice, logprob, n_tokens| ItemRow {
            n_tokens,
            ..row(TaskKind::FullPromptMeanCe, 0, choice, 0, logprob)
        };
        let rows = [prompt(0, -9.0, 8), prompt(1, -6.0, 4)];
        assert_value(&rows, "acc", 1.0);
        assert_value(&rows, "mean_ce", 1.0);
        assert_value(&rows, "prob", 1.0 / (1.0 + (-0.2_f64).exp()));
        let tie = [prompt(0, -4.0, 3), prompt(1, -2.0, 1)];
        assert_value(&tie, "acc", 1.0);
        let broken = metrics(&[prompt(0, -9.0, 8), prompt(1, f64::NAN, 4)]);
        assert_eq!((broken["acc"], broken["prob"]), (Estimate::UNKNOWN, Estimate::UNKNOWN));
    }

    #[test]
    fn one_item_has_values_and_no_errors() {
        for kind in [TaskKind::MultipleChoice, TaskKind::FullPromptMeanCe] {
            let rows = [row(kind, 0, 0, 1, -1.0), row(kind, 0, 1, 1, -2.0)];
            assert!(
                metrics(&rows).values().all(|estimate| estimate.value.is_some() && estimate.stderr.is_none())
            );
        }
    }

    #[test]
    fn of_equal_choices_the_first_is_picked() {
        assert_value(&choices(0, 0, &[(-1.0, 1), (-1.0, 1)]), "acc", 1.0);
        assert_value(&choices(0, 1, &[(-1.0, 1), (-1.0, 1)]), "acc", 0.0);
        assert_value(&choices(0, 1, &[(-1.0, 1), (-1.0, 1)]), "prob", 0.5);
    }

    #[test]
    fn greedy_match() {
        let rows = [
            ItemRow { greedy: true, n_bytes: 2, ..row(TaskKind::GreedyMatch, 0, 0, 0, -1.0) },
            ItemRow { greedy: false, n_bytes: 6, ..row(TaskKind::GreedyMatch, 4, 0, 0, -5.0) },
        ];
        assert_value(&rows, "acc", 0.5);
        assert_value(&rows, "perplexity", 3.0_f64.exp());
        assert_value(&rows, "bits_per_byte", f64::midpoint(0.5, 5.0 / 6.0) / LN_2);
    }

    #[test]
    fn perplexity_is_a_ratio_of_sums() {
        let text = |item, logprob, n_bytes, words| ItemRow {
            n_bytes,
            n_words: Some(words),
            ..row(TaskKind::Perplexity, item, 0, 0, logprob)
        };
        let rows = [text(0, -10.0, 10, 2), text(1, -50.0, 20, 4)];
        assert_value(&rows, "bits_per_byte", 2.0 / LN_2);
        assert_value(&rows, "byte_perplexity", 2.0_f64.exp());
        assert_value(&rows, "word_perplexity", 10.0_f64.exp());
        assert_value(&rows, "token_perplexity", 15.0_f64.exp());
        let wordless = [ItemRow { n_words: None, ..rows[0].clone() }];
        assert!(!metrics(&wordless).contains_key("word_perplexity"), "what is not defined is not there");
    }

    #[test]
    fn tokens_without_bytes_count_for_no_byte() {
        let row = ItemRow {
            byte_logprob: Some(-8.0),
            n_bytes: 8,
            n_tokens: 5,
            n_words: Some(2),
            ..row(TaskKind::Perplexity, 0, 0, 0, -10.0)
        };
        let rows = [row];
        assert_value(&rows, "bits_per_byte", 1.0 / LN_2);
        assert_value(&rows, "byte_perplexity", 1.0_f64.exp());
        assert_value(&rows, "token_perplexity", 2.0_f64.exp());
        assert_value(&rows, "word_perplexity", 5.0_f64.exp());
    }

    /// Twelve people with five questions each. The model knows a person in all five questions or in none.
    fn about_people(known: u32) -> Vec<ItemRow> {
        let item = |item: u32| {
            let right = f64::from(u8::from(item / 5 < known));
            let mut rows = choices(item, 0, &[(-1.0, 3), (-2.0 + 2.0 * (1.0 - right), 3)]);
            for row in &mut rows {
                row.cluster = Some(item / 5);
            }
            rows
        };
        (0..60).flat_map(item).collect()
    }

    #[test]
    fn items_of_a_cluster_are_counted_together() {
        let clustered = about_people(4);
        let alone: Vec<ItemRow> =
            clustered.iter().map(|row| ItemRow { cluster: None, ..row.clone() }).collect();
        let (clustered, alone) = (metrics(&clustered), metrics(&alone));
        for name in ["acc", "acc_norm", "prob", "prob_per_char"] {
            let (clustered, alone) = (clustered[name], alone[name]);
            assert_eq!(clustered.value, alone.value, "{name}");
            let ratio = clustered.stderr.unwrap() / alone.stderr.unwrap();
            assert!((2.2..2.4).contains(&ratio), "{name}: as of a fifth of the items, not {ratio}");
            assert!(clustered.lo < alone.lo && clustered.hi > alone.hi, "{name}");
        }
        let [before, after] = [about_people(4), about_people(6)];
        let [before, after] = [&before, &after].map(|rows| [TaskScores::new(rows, "acc", None).unwrap()]);
        let (_, change) = compare(&before, &after, None).unwrap();
        assert!(change.p.is_some_and(|p| p > 0.1), "two people learned are no sure change: {change:?}");
    }

    #[test]
    fn what_is_not_finite_is_never_a_number_nor_an_answer() {
        for bad in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY] {
            let of_all = [
                "acc",
                "acc_norm",
                "acc_bytes",
                "prob",
                "log_prob",
                "brier",
                "prob_per_char",
                "total_prob_per_char",
                "margin_per_char",
            ];
            let rows =
                [choices(0, 0, &[(-1.0, 1), (bad, 1)]), choices(1, 0, &[(-1.0, 1), (-2.0, 1)])].concat();
            let metrics = metrics(&rows);
            for name in of_all {
                assert_eq!(metrics[name], Estimate::UNKNOWN, "{name} of {bad}");
            }
            assert!(metrics["bits_per_byte"].value.is_some(), "the right choice's score is known");
        }
        let of_gold = metrics(&choices(0, 1, &[(-1.0, 1), (f64::NAN, 1)]));
        assert!(of_gold.values().all(|estimate| *estimate == Estimate::UNKNOWN), "{of_gold:?}");
        assert_eq!(metrics(&[row(TaskKind::GreedyMatch, 0, 0, 0, f64::NAN)])["acc"], Estimate::UNKNOWN);
        assert!(metrics(&[]).is_empty());
    }

    #[test]
    fn extreme_scores_do_not_overflow() {
        let rows = choices(0, 0, &[(-1e5, 1), (-1e6, 1)]);
        assert_value(&rows, "prob", 1.0);
        let wrong = choices(0, 1, &[(-1e5, 1), (-1e6, 1)]);
        assert_value(&wrong, "prob", 0.0);
        assert_value(&wrong, "log_prob", -9e5);
        assert_value(&wrong, "brier", 2.0);
        assert_value(&wrong, "margin_per_char", 0.0);
    }

    proptest! {
        /// Each metric of one item, by its formula in the table above.
        #[test]
        fn one_item_by_the_formulas(
            choices in prop::collection::vec((-60.0..0.0_f64, -60.0..0.0_f64, 1_u32..30, 1_u32..90), 2..6),
            gold in 0_usize..2,
        ) {
            let rows: Vec<ItemRow> = choices
                .iter()
                .zip(0..)
                .map(|(&(logprob, alone, n_chars, n_bytes), choice)| ItemRow {
                    unconditional_logprob: Some(alone),
                    n_chars,
                    n_bytes,
                    ..row(TaskKind::MultipleChoice, 0, choice, gold as u32, logprob)
                })
                .collect();
            let of = |score: fn(&(f64, f64, u32, u32)) -> f64| choices.iter().map(score).collect::<Vec<_>>();
            let picks = |scores: Vec<f64>| {
                let best = scores.iter().copied().fold(f64::MIN, f64::max);
                f64::from(u8::from(scores.iter().position(|&score| score >= best) == Some(gold)))
            };
            let softmax = |scores: &[f64]| {
                let sum: f64 = scores.iter().map(|score| score.exp()).sum();
                scores.iter().map(|score| score.exp() / sum).collect::<Vec<_>>()
            };
            let sums = softmax(&of(|c| c.0));
            let per_char: Vec<f64> = of(|c| (c.0 / f64::from(c.2)).exp());
            let wrong = per_char.iter().enumerate().filter(|(i, _)| *i != gold).map(|(_, p)| *p);
            let brier = sums.iter().enumerate().map(|(i, p)| (p - f64::from(u8::from(i == gold))).powi(2));
            let expected = [
                ("acc", picks(of(|c| c.0))),
                ("acc_norm", picks(of(|c| c.0 / f64::from(c.2)))),
                ("acc_bytes", picks(of(|c| c.0 / f64::from(c.3)))),
                ("acc_mutual_info", picks(of(|c| c.0 - c.1))),
                ("prob", sums[gold]),
                ("log_prob", sums[gold].ln()),
                ("brier", brier.sum()),
                ("prob_per_char", softmax(&of(|c| c.0 / f64::from(c.2)))[gold]),
                ("correct_prob_per_char", per_char[gold]),
                ("total_prob_per_char", per_char.iter().sum()),
                ("margin_per_char", per_char[gold] - wrong.fold(0.0, f64::max)),
                ("bits_per_byte", -choices[gold].0 / f64::from(choices[gold].3) / LN_2),
            ];
            let metrics = metrics(&rows);
            prop_assert_eq!(metrics.len(), expected.len());
            for (name, expected) in expected {
                let value = metrics[name].value.unwrap();
                prop_assert!((value - expected).abs() < 1e-9, "{} is {}, not {}", name, value, expected);
            }
        }
    }

    #[test]
    fn directions_are_known() {
        assert!(higher_is_better("exact_match") && higher_is_better("f1") && higher_is_better("pass@10"));
        for kind in TaskKind::ALL.into_iter().filter(|kind| !kind.is_written()) {
            let row =
                ItemRow { unconditional_logprob: Some(-1.0), n_words: Some(1), ..row(kind, 0, 0, 0, -1.0) };
            // Metrics of representations are not computed from rows.
            let is_primary = |metric: &ItemMetric| metric.name == kind.primary_metric();
            assert!(kind == TaskKind::Representation || metrics_of(&row).any(is_primary));
            for ItemMetric { name, .. } in metrics_of(&row) {
                let is_good = ["acc", "margin", "icl_gain"].iter().any(|good| name.starts_with(good))
                    || name.contains("prob");
                assert_eq!(higher_is_better(name), is_good, "{name}");
            }
        }
    }
}
