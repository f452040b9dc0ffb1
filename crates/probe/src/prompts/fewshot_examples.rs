//! Few-shot examples before a question.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fineline_random::{Permutation, PythonRandom};
use serde::Deserialize;
use serde_json::Value;

use crate::prompts::fewshot_draws::{FewshotDraws, SEED};
use crate::prompts::template::{field, scalar};

/// Separator after each example: lm-evaluation-harness's `fewshot_delimiter`.
const EXAMPLE_DELIMITER: &str = "\n\n";

/// `[examples]` of a task file: the source of the few-shot examples.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExamplesTable {
    pub(crate) data: PathBuf,
    /// A field whose value the example and the item must share.
    #[serde(rename = "match")]
    matching: Option<String>,
    #[serde(default)]
    sampler: ExampleSampler,
    #[serde(default = "default_seed")]
    seed: u64,
    /// Separator after each example.
    delimiter: Option<String>,
}

/// Selection of the examples.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ExampleSampler {
    /// The first ones in their file, the same for every item.
    #[default]
    FirstN,
    /// A set drawn with `seed`, the same for every item.
    Seeded,
    /// Different ones for each item, drawn with `seed` as by lm-evaluation-harness's default sampler.
    Random,
    /// Different ones for each item, drawn from a stream with seed `seed` plus the item's index, as nanochat
    /// does for CORE (`evaluate_example`).
    OfItem,
}

fn default_seed() -> u64 {
    SEED
}

/// Candidate examples, in the order of selection.
#[derive(Debug)]
pub(crate) struct FewshotExamples<'a> {
    table: &'a ExamplesTable,
    shots: usize,
    by_group: BTreeMap<Option<String>, Vec<FewshotExample>>,
    /// Draws of each group. In the harness, each group is a task.
    draws: BTreeMap<Option<String>, FewshotDraws>,
    /// Whether the questions are among the examples. If so, one more is drawn, and the question is excluded.
    has_questions: bool,
}

/// A solved question.
#[derive(Clone, Debug)]
pub(crate) struct FewshotExample {
    /// Index in its file.
    pub(crate) number: usize,
    pub(crate) record: Value,
    /// Question and answer.
    pub(crate) text: String,
}

impl<'a> FewshotExamples<'a> {
    /// `shots` examples of `pool`, which is in the order of its file. On failure, the index of the invalid
    /// example and the reason.
    pub(crate) fn new(
        table: &'a ExamplesTable,
        shots: usize,
        pool: &[FewshotExample],
    ) -> Result<Self, (usize, String)> {
        let order: Vec<usize> = match table.sampler {
            ExampleSampler::FirstN | ExampleSampler::Random | ExampleSampler::OfItem => {
                (0..pool.len()).collect()
            }
            ExampleSampler::Seeded => {
                let order = Permutation::new(table.seed, "probe/examples", 0, pool.len() as u64);
                (0..order.len()).map(|index| order.get(index) as usize).collect()
            }
        };
        let mut by_group: BTreeMap<_, Vec<FewshotExample>> = BTreeMap::new();
        for index in order {
            let example = &pool[index];
            let group = table.group(&example.record).map_err(|message| (index, message))?;
            by_group.entry(group).or_default().push(example.clone());
        }
        Ok(Self { table, shots, by_group, draws: BTreeMap::new(), has_questions: false })
    }

    /// Sets whether the questions are among the examples.
    pub(crate) fn with_questions(self, has_questions: bool) -> Self {
        Self { has_questions, ..self }
    }

    /// The examples before the question of `record`, the item `number` of the task. Must be called in the
    /// order of the items. The question is never its own example.
    pub(crate) fn before(&mut self, number: usize, record: &Value) -> Result<String, String> {
        let group = self.table.group(record)?;
        let candidates = self.by_group.get(&group).map_or(&[][..], Vec::as_slice);
        let chosen = match self.table.sampler {
            ExampleSampler::FirstN | ExampleSampler::Seeded => {
                let others = candidates.iter().filter(|example| example.record != *record);
                let chosen: Vec<&FewshotExample> = others.take(self.shots).collect();
                if chosen.len() < self.shots { Err(chosen.len()) } else { Ok(chosen) }
            }
            ExampleSampler::OfItem => {
                let others: Vec<&FewshotExample> = candidates
                    .iter()
                    .filter(|example| !self.has_questions || example.number != number)
                    .collect();
                let indices =
                    PythonRandom::new(self.table.seed + number as u64).sample(others.len(), self.shots);
                let chosen = indices.map(|indices| indices.into_iter().map(|index| others[index]).collect());
                chosen.ok_or(others.len())
            }
            ExampleSampler::Random => {
                let draws =
                    self.draws.entry(group.clone()).or_insert_with(|| FewshotDraws::new(self.table.seed));
                let is_question = |index: usize| candidates[index].record == *record;
                let is_question: Option<&dyn Fn(usize) -> bool> =
                    if self.has_questions { Some(&is_question) } else { None };
                let indices = draws.next(candidates.len(), self.shots, is_question);
                indices.map(|indices| indices.into_iter().map(|index| &candidates[index]).collect())
            }
        };
        let chosen = chosen.map_err(|found| {
            let like = group.map_or_else(String::new, |group| format!(" like it, {group:?}"));
            format!("expected {} other examples{like}, found {found}", self.shots)
        })?;
        let delimiter = self.table.delimiter.as_deref().unwrap_or(EXAMPLE_DELIMITER);
        Ok(chosen.iter().flat_map(|example| [example.text.as_str(), delimiter]).collect())
    }
}

impl ExamplesTable {
    fn group(&self, record: &Value) -> Result<Option<String>, String> {
        self.matching.as_ref().map(|path| scalar(field(record, path)?, path)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(toml: &str) -> ExamplesTable {
        toml::from_str(&format!("data = \"dev.jsonl\"\n{toml}")).unwrap()
    }

    /// Examples 0 to 9, with subject "a" for even numbers.
    fn pool() -> Vec<FewshotExample> {
        let record = |i| json!({"q": i, "subject": if i % 2 == 0 { "a" } else { "b" }});
        (0..10).map(|i| FewshotExample { number: i, record: record(i), text: format!("{i}?") }).collect()
    }

    fn before(toml: &str, shots: usize, record: &Value) -> Result<String, String> {
        FewshotExamples::new(&table(toml), shots, &pool()).unwrap().before(0, record)
    }

    #[test]
    fn the_first_are_taken_of_those_that_match() {
        let record = json!({"q": 77, "subject": "b"});
        assert_eq!(before("", 2, &record).unwrap(), "0?\n\n1?\n\n");
        assert_eq!(before("match = \"subject\"", 2, &record).unwrap(), "1?\n\n3?\n\n");
        assert_eq!(before("", 0, &record).unwrap(), "");
    }

    #[test]
    fn a_question_is_not_its_own_example() {
        assert_eq!(before("", 2, &json!({"q": 1, "subject": "b"})).unwrap(), "0?\n\n2?\n\n");
    }

    #[test]
    fn a_seeded_set_is_fixed_and_grows_with_the_shots() {
        let set = |seed: u64, shots| {
            before(&format!("sampler = \"seeded\"\nseed = {seed}"), shots, &json!({"q": 77, "subject": "a"}))
                .unwrap()
        };
        assert_eq!(set(1, 5), set(1, 5));
        assert_ne!(set(1, 5), set(2, 5));
        assert!(set(1, 5).starts_with(&set(1, 3)));
        assert_ne!(set(1, 5), "0?\n\n1?\n\n2?\n\n3?\n\n4?\n\n");
    }

    /// Python's `random.Random(1234).sample(range(10), 2)`, twice, then 9 of the 10 with the question
    /// excluded.
    #[test]
    fn others_are_drawn_for_each_question() {
        let table = table("sampler = \"random\"");
        let mut examples = FewshotExamples::new(&table, 2, &pool()).unwrap();
        let record = json!({"q": 77, "subject": "a"});
        let drawn = [examples.before(0, &record).unwrap(), examples.before(0, &record).unwrap()];
        assert_eq!(drawn, ["7?\n\n1?\n\n", "0?\n\n1?\n\n"]);
        let mut among =
            FewshotExamples { has_questions: true, ..FewshotExamples::new(&table, 9, &pool()).unwrap() };
        let others = among.before(7, &json!({"q": 7, "subject": "b"})).unwrap();
        assert!(!others.contains("7?") && others.matches('?').count() == 9);
        let error = FewshotExamples::new(&table, 11, &pool()).unwrap().before(0, &record).unwrap_err();
        assert_eq!(error, "expected 11 other examples, found 10");
    }

    /// Python's `random.Random(1234 + 3).sample([i for i in range(10) if i != 3], 4)`.
    #[test]
    fn each_question_has_a_stream_of_its_own() {
        let table = table("sampler = \"of_item\"");
        let mut examples = FewshotExamples::new(&table, 4, &pool()).unwrap().with_questions(true);
        let record = json!({"q": 3, "subject": "b"});
        let drawn = examples.before(3, &record).unwrap();
        assert_eq!(drawn, "2?\n\n7?\n\n9?\n\n1?\n\n");
        examples.before(5, &record).unwrap();
        assert_eq!(examples.before(3, &record).unwrap(), drawn);
        let error =
            FewshotExamples::new(&table, 10, &pool()).unwrap().with_questions(true).before(3, &record);
        assert_eq!(error.unwrap_err(), "expected 10 other examples, found 9");
    }

    #[test]
    fn too_few_are_refused() {
        let error = before("match = \"subject\"", 6, &json!({"q": 0, "subject": "a"})).unwrap_err();
        assert_eq!(error, "expected 6 other examples like it, \"a\", found 4");
        let error = FewshotExamples::new(&table("match = \"topic\""), 1, &pool()).unwrap_err();
        assert_eq!(error, (0, "there is no field `topic`".to_owned()));
    }
}
