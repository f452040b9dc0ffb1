//! Few-shot examples drawn at random as in lm-evaluation-harness (`ContextSampler.sample` of
//! `lm_eval/api/samplers.py`, version 0.4.13).

use fineline_random::PythonRandom;

/// `DEFAULT_OTHER_SEED` of `lm_eval/defaults.py`.
pub(crate) const SEED: u64 = 1234;

/// Draws of a task's few-shot examples. The draws for an item depend on the items before it.
#[derive(Debug)]
pub(crate) struct FewshotDraws(PythonRandom);

impl FewshotDraws {
    pub(crate) fn new(seed: u64) -> Self {
        Self(PythonRandom::new(seed))
    }

    /// Indices of the next item's `shots` examples among `len`. If the item is itself among them,
    /// `is_question` identifies it and its copies. Fails with the number of available examples if there are
    /// too few.
    pub(crate) fn next(
        &mut self,
        len: usize,
        shots: usize,
        is_question: Option<&dyn Fn(usize) -> bool>,
    ) -> Result<Vec<usize>, usize> {
        let Some(is_question) = is_question else { return self.0.sample(len, shots).ok_or(len) };
        // One more, so that enough remain without the item itself.
        let drawn = self.0.sample(len, shots + 1).ok_or(len.saturating_sub(1))?;
        let chosen: Vec<usize> = drawn.into_iter().filter(|index| !is_question(*index)).take(shots).collect();
        if chosen.len() == shots {
            return Ok(chosen);
        }
        // Copies of the item were drawn.
        let others: Vec<usize> = (0..len).filter(|index| !is_question(*index)).collect();
        let drawn = self.0.sample(others.len(), shots).ok_or(others.len())?;
        Ok(drawn.into_iter().map(|index| others[index]).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    /// Draws of the harness for items 0, 1, 2, ... of a pool: `scripts/fixtures/harness_draws.py`.
    #[test]
    fn draws_are_the_harness_s() {
        let golden: Value = serde_json::from_str(include_str!("../../tests/fixtures/draws.json")).unwrap();
        for case in golden.as_array().unwrap() {
            let pool = case["pool"].as_array().unwrap();
            let mut draws = FewshotDraws::new(SEED);
            for (question, expected) in case["draws"].as_array().unwrap().iter().enumerate() {
                let is_question = |index: usize| pool[index] == pool[question];
                let spares = case["spares"].as_bool().unwrap();
                let is_question: Option<&dyn Fn(usize) -> bool> =
                    if spares { Some(&is_question) } else { None };
                let drawn = draws.next(pool.len(), 5, is_question).unwrap();
                assert_eq!(&drawn.into_iter().map(|index| pool[index].clone()).collect::<Value>(), expected);
            }
        }
    }

    #[test]
    fn too_few_are_counted() {
        let mut draws = FewshotDraws::new(SEED);
        assert_eq!(draws.next(3, 3, Some(&|index| index == 0)), Err(2));
        assert_eq!(draws.next(3, 4, None), Err(3));
        assert_eq!(draws.next(4, 3, Some(&|index| index < 2)), Err(2));
    }
}
