//! Comparison of representations: between the depths of a round, and of each depth with itself in earlier
//! rounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use fineline_dynamics::{Estimate, jackknife};

use crate::error::ProbeError;
use crate::metrics::similarity::{GramKernel, JackknifeStatistic, LeadingComponents, groups};
use crate::results::probe_record::ProbeRecord;
use crate::results::representation_store::SimilarityRow;
use crate::results::task_result::TaskResult;
use crate::scorers::representation::hidden_states::Representation;
use crate::tasks::kind::TaskKind;
use crate::tasks::provenance::Provenance;

/// The first and the last representation of each task of a run.
#[derive(Clone, Debug, Default)]
pub struct RepresentationHistory(BTreeMap<String, RepresentationSeries>);

#[derive(Clone, Debug)]
struct RepresentationSeries {
    /// Provenance of the representations. If it changes, a new series starts.
    provenance: Provenance,
    first: Option<StoredRepresentation>,
    /// `None` if it is the first.
    last: Option<StoredRepresentation>,
}

/// A representation, and its step.
#[derive(Clone, Debug)]
struct StoredRepresentation {
    step: u64,
    representation: Representation,
}

impl RepresentationHistory {
    /// Restores the history from `records` in order. `at(step)` reads the stored representations of a step,
    /// by task.
    ///
    /// # Errors
    /// Errors of `at`.
    pub fn resume<E: From<ProbeError>>(
        records: &[ProbeRecord],
        at: impl Fn(u64) -> Result<BTreeMap<String, Representation>, E>,
    ) -> Result<Self, E> {
        let mut series: BTreeMap<&str, (&Provenance, u64, u64)> = BTreeMap::new();
        for record in records.iter().filter(|record| record.kind == Some(TaskKind::Representation)) {
            let (provenance, first, last) =
                series.entry(&record.task).or_insert((&record.provenance, record.step, record.step));
            if **provenance != record.provenance {
                (*provenance, *first) = (&record.provenance, record.step);
            }
            *last = record.step;
        }
        let mut history = BTreeMap::new();
        for (task, (provenance, first, last)) in series {
            let stored = |step| {
                let found = at(step)?.remove(task);
                Ok::<_, E>(found.map(|representation| StoredRepresentation { step, representation }))
            };
            let last = if last == first { None } else { stored(last)? };
            let past = RepresentationSeries { provenance: provenance.clone(), first: stored(first)?, last };
            history.insert(task.to_owned(), past);
        }
        Ok(Self(history))
    }

    /// Adds a representation to the history and its metrics to `result`. Returns the similarities: of all
    /// pairs of depths, and of each depth with itself in the previous and in the first round of the task.
    /// Does nothing for tasks of other kinds.
    pub fn compare(&mut self, step: u64, result: &mut TaskResult) -> Vec<SimilarityRow> {
        let Some(representation) = &result.representation else { return Vec::new() };
        if self.0.get(&result.task).is_some_and(|past| past.provenance != result.provenance) {
            self.0.remove(&result.task);
        }
        let groups = groups(&representation.clusters);
        let now = RepresentationDepths::of(representation, &groups);
        let task: Arc<str> = result.task.as_str().into();
        let row =
            |other_step, (layer_a, layer_b): (usize, usize), similarity: &DepthSimilarity| SimilarityRow {
                task: Arc::clone(&task),
                step,
                other_step,
                layer_a: layer_a as u32,
                layer_b: layer_b as u32,
                cka: similarity.cka(),
                cca: similarity.cca,
            };

        let mut rows = Vec::new();
        let mut adjacent = Vec::new();
        for a in 0..now.0.len() {
            for b in a..now.0.len() {
                let similarity = now.0[a].similarity(&now.0[b]);
                rows.push(row(step, (a, b), &similarity));
                if a != b {
                    rows.push(row(step, (b, a), &similarity));
                }
                if b == a + 1 {
                    adjacent.push(similarity.cka);
                }
            }
        }
        let mut with = |earlier: Option<&StoredRepresentation>, is_new: bool| {
            let comparable = earlier.filter(|at| {
                at.representation.items == representation.items
                    && at.representation.layers.len() == representation.layers.len()
            });
            let Some(StoredRepresentation { step, representation }) = comparable else {
                return Estimate::UNKNOWN;
            };
            let then = RepresentationDepths::of(representation, &groups);
            let similarities: Vec<_> =
                then.0.iter().zip(&now.0).map(|(then, now)| then.similarity(now)).collect();
            if is_new {
                rows.extend(similarities.iter().enumerate().map(|(at, same)| row(*step, (at, at), same)));
            }
            mean(similarities.iter().map(|similarity| &similarity.cka))
        };
        let past = self.0.get(&result.task);
        let first = past.and_then(|past| past.first.as_ref());
        let previous = past.and_then(|past| past.last.as_ref());
        let metrics = [
            ("cka_previous_mean", with(previous.or(first), true)),
            ("cka_first_mean", with(first, previous.is_some())),
            ("cka_adjacent_mean", mean(&adjacent)),
        ];
        result.metrics.extend(metrics.map(|(name, estimate)| (name.to_owned(), estimate)));
        rows.sort_by_key(|row| (row.other_step != step, row.other_step, row.layer_a, row.layer_b));
        self.keep(step, result);
        rows
    }

    fn keep(&mut self, step: u64, result: &TaskResult) {
        let representation = result.representation.clone();
        let now = representation.map(|representation| StoredRepresentation { step, representation });
        if let Some(past) = self.0.get_mut(&result.task) {
            past.last = now;
        } else {
            let past = RepresentationSeries { provenance: result.provenance.clone(), first: now, last: None };
            self.0.insert(result.task.clone(), past);
        }
    }
}

/// Mean of CKAs, with the error over texts.
fn mean<'a>(all: impl IntoIterator<Item = &'a JackknifeStatistic>) -> Estimate {
    JackknifeStatistic::mean(all).map_or(Estimate::UNKNOWN, |mean| jackknife(mean.value, &mean.without))
}

/// A representation, prepared for comparisons.
struct RepresentationDepths<'a>(Vec<RepresentationDepth<'a>>);

struct RepresentationDepth<'a> {
    kernel: GramKernel<'a>,
    leading: Option<LeadingComponents>,
}

struct DepthSimilarity {
    cka: JackknifeStatistic,
    cca: Option<f64>,
}

impl<'a> RepresentationDepths<'a> {
    fn of(representation: &Representation, groups: &'a [Vec<usize>]) -> Self {
        let depth = |gram| RepresentationDepth {
            kernel: GramKernel::new(gram, groups),
            leading: LeadingComponents::of(gram),
        };
        Self(representation.layers.iter().map(depth).collect())
    }
}

impl RepresentationDepth<'_> {
    fn similarity(&self, other: &Self) -> DepthSimilarity {
        let leading = self.leading.as_ref().zip(other.leading.as_ref());
        DepthSimilarity { cka: self.kernel.cka(&other.kernel), cca: leading.map(|(a, b)| a.similarity(b)) }
    }
}

impl DepthSimilarity {
    fn cka(&self) -> Estimate {
        jackknife(self.cka.value, &self.cka.without)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scorers::representation::gram::GramMatrix;

    const WIDTH: usize = 3;

    /// Two depths. `seed` changes the features of the second.
    fn representation(seed: u32) -> Representation {
        let texts = 9;
        let feature = |depth: u32, at: u32| ((at * 7919 + depth * (31 + 977 * seed) * at) % 101) as f32;
        let features = |depth| (0..(texts * WIDTH) as u32).map(|at| feature(depth, at)).collect::<Vec<_>>();
        Representation {
            items: (0..texts as u32).collect(),
            clusters: vec![None; texts],
            layers: (0..2).map(|depth| GramMatrix::of(&features(depth), texts)).collect(),
        }
    }

    fn result(seed: u32, data: &str) -> TaskResult {
        TaskResult {
            task: "r".into(),
            domain: "d".into(),
            version: None,
            kind: TaskKind::Representation,
            n: 9,
            total: 9,
            shots: 0,
            chance: None,
            metrics: BTreeMap::new(),
            items: Vec::new(),
            representation: Some(representation(seed)),
            truncated: 0,
            non_finite: 0,
            seconds: 0.0,
            provenance: Provenance::for_tests(data),
        }
    }

    fn compared(
        history: &mut RepresentationHistory,
        step: u64,
        result: &TaskResult,
    ) -> (TaskResult, Vec<SimilarityRow>) {
        let mut result = result.clone();
        let rows = history.compare(step, &mut result);
        (result, rows)
    }

    #[test]
    fn rounds_are_set_against_the_previous_and_the_first() {
        let mut history = RepresentationHistory::default();
        let value = |result: &TaskResult, name: &str| result.metrics[name].value;
        let (first, rows) = compared(&mut history, 0, &result(0, "a"));
        assert_eq!((value(&first, "cka_previous_mean"), value(&first, "cka_first_mean")), (None, None));
        assert!(value(&first, "cka_adjacent_mean").is_some_and(|cka| cka < 0.9));
        assert!(first.metrics["cka_adjacent_mean"].stderr.is_some_and(|stderr| stderr > 0.0));
        assert_eq!(rows.len(), 4);
        assert!((rows[0].cka.value.unwrap() - 1.0).abs() < 1e-12);

        let (second, rows) = compared(&mut history, 1, &result(1, "a"));
        assert_eq!(second.metrics["cka_previous_mean"], second.metrics["cka_first_mean"]);
        assert!(value(&second, "cka_previous_mean").is_some_and(|cka| cka < 1.0));
        let others: Vec<_> = rows.iter().map(|row| (row.other_step, row.layer_a, row.layer_b)).collect();
        assert_eq!(others, [(1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1), (0, 0, 0), (0, 1, 1)]);

        let (third, rows) = compared(&mut history, 2, &result(1, "a"));
        assert!((value(&third, "cka_previous_mean").unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(third.metrics["cka_first_mean"], second.metrics["cka_first_mean"]);
        assert_eq!(rows.len(), 4 + 2 + 2);

        let (other, _) = compared(&mut history, 3, &result(1, "b"));
        assert_eq!(value(&other, "cka_previous_mean"), None, "other texts begin a new series");
    }

    #[test]
    fn a_resumed_history_is_the_one_that_was_left() {
        let stored: Vec<TaskResult> =
            [(0, "b"), (0, "a"), (1, "a"), (2, "a")].map(|(seed, data)| result(seed, data)).into();
        for rounds in 1..=stored.len() {
            let mut history = RepresentationHistory::default();
            let mut log = crate::EvaluationHistory::new();
            let mut records = Vec::new();
            for (step, round) in stored[..rounds].iter().enumerate() {
                let (result, _) = compared(&mut history, step as u64, round);
                records.push(log.record(step as u64, 0, &result));
            }
            let at = |step: u64| {
                let representation = stored[step as usize].representation.clone().unwrap();
                Ok::<_, ProbeError>(BTreeMap::from([("r".to_owned(), representation)]))
            };
            let mut resumed = RepresentationHistory::resume(&records, at).unwrap();
            let next = result(3, "a");
            assert_eq!(compared(&mut resumed, 9, &next), compared(&mut history, 9, &next), "{rounds}");
            let gone = |_| Ok::<_, ProbeError>(BTreeMap::new());
            let mut without = RepresentationHistory::resume(&records, gone).unwrap();
            assert_eq!(compared(&mut without, 9, &next).0.metrics["cka_first_mean"], Estimate::UNKNOWN);
        }
    }
}
