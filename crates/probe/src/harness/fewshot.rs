//! Which solved examples stand before a question (`lm_eval/api/samplers.py`).

use fineline_random::PythonRandom;
use serde_json::Value;

use super::config::Sampler;

/// `DEFAULT_OTHER_SEED` of `lm_eval/defaults.py`.
const SEED: u64 = 1234;

/// Draws the examples of one question after another, in the order of the questions: with the default sampler, which ones a question gets depends on
/// those before it.
pub(super) struct Draws<'a> {
    sampler: Sampler,
    pool: &'a [Value],
    random: PythonRandom,
}

impl<'a> Draws<'a> {
    pub(super) fn new(sampler: Sampler, pool: &'a [Value]) -> Self {
        Self { sampler, pool, random: PythonRandom::new(SEED) }
    }

    /// The places in the pool of the next question's examples; `spared` is the question, where it must not be among them. Fails if there are too few.
    pub(super) fn next(&mut self, shots: usize, spared: Option<&Value>) -> Result<Vec<usize>, String> {
        let few = |found: usize, expected: usize| {
            let besides = if spared.is_some() { " besides the question" } else { "" };
            format!("expected {expected} examples{besides}, found {found}")
        };
        let pool = self.pool;
        let is_other = |place: &usize| spared != Some(&pool[*place]);
        if self.sampler == Sampler::FirstN {
            let chosen: Vec<usize> = (0..pool.len()).filter(is_other).take(shots).collect();
            return if chosen.len() == shots { Ok(chosen) } else { Err(few(chosen.len(), shots)) };
        }
        // One more, so that there are enough without the question.
        let count = shots + usize::from(spared.is_some());
        let drawn = self
            .random
            .sample(pool.len(), count)
            .ok_or_else(|| few(pool.len() - usize::from(spared.is_some()).min(pool.len()), shots))?;
        let chosen: Vec<usize> = drawn.into_iter().filter(is_other).take(shots).collect();
        if chosen.len() == shots {
            return Ok(chosen);
        }
        // The question was drawn more than once, as copies of it.
        let others: Vec<usize> = (0..pool.len()).filter(is_other).collect();
        let drawn = self.random.sample(others.len(), shots).ok_or_else(|| few(others.len(), shots))?;
        Ok(drawn.into_iter().map(|place| others[place]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `ContextSampler.sample` of lm-evaluation-harness 0.4.13 gives for questions 0, 1, 2, ... of a pool of 30: `scripts/fixtures/python_random.py`.
    #[test]
    fn draws_are_the_harness_s() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/fixtures/draws.json")).unwrap();
        for case in golden.as_array().unwrap() {
            let pool = case["pool"].as_array().unwrap();
            let mut draws = Draws::new(Sampler::Default, pool);
            for (question, expected) in case["draws"].as_array().unwrap().iter().enumerate() {
                let spared = case["spares"].as_bool().unwrap().then(|| &pool[question]);
                let drawn: Vec<Value> =
                    draws.next(5, spared).unwrap().into_iter().map(|place| pool[place].clone()).collect();
                assert_eq!(&Value::from(drawn), expected);
            }
        }
    }

    #[test]
    fn too_few_are_counted() {
        let pool: Vec<Value> = (0..3).map(Value::from).collect();
        let mut draws = Draws::new(Sampler::Default, &pool);
        assert_eq!(
            draws.next(3, Some(&pool[0])).unwrap_err(),
            "expected 3 examples besides the question, found 2"
        );
        assert_eq!(draws.next(4, None).unwrap_err(), "expected 4 examples, found 3");
        let mut first = Draws::new(Sampler::FirstN, &pool);
        assert_eq!(first.next(2, Some(&pool[0])).unwrap(), [1, 2]);
        assert_eq!(
            first.next(3, Some(&pool[0])).unwrap_err(),
            "expected 3 examples besides the question, found 2"
        );
    }
}
