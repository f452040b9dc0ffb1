//! Evaluation on all ranks: each scores its share of the batches, and rank 0 gets the scores of all.
//!
//! All ranks call the functions of an [`Evaluator`] in the same order, because each call is a collective. A
//! batch has the same scores on any rank, so the results don't depend on the number of ranks.

use fineline_model::Llama;
use fineline_probe::{EvaluationRound, Interrupted, RankShare, RoundResults, RoundScores, Suite};
use fineline_ranks::Ranks;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::RunError;

/// The model under evaluation, without automatic differentiation, and the ranks that share the work.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    pub(crate) model: &'a Llama,
    /// Whether a stop of this rank was requested.
    pub(crate) interrupted: &'a dyn Fn() -> bool,
    pub(crate) ranks: &'a dyn Ranks,
}

impl Evaluator<'_> {
    /// Returns this rank's share of the batches.
    pub(crate) fn share(&self) -> RankShare {
        RankShare { rank: self.ranks.rank(), size: self.ranks.size() }
    }

    /// Announces long work to the heartbeat, so that other ranks don't time out while they wait.
    pub(crate) fn set_status(&self) {
        self.ranks.set_status("validation or probes");
    }

    /// Gathers the values of all ranks, in the order of ranks, on rank 0. Other ranks get an empty list.
    ///
    /// # Errors
    /// [`RunError::Interrupted`] on all ranks if one of them was interrupted.
    pub(crate) fn gather<T: Serialize + DeserializeOwned>(
        &self,
        own: Result<T, Interrupted>,
    ) -> Result<Vec<T>, RunError> {
        if self.ranks.size() == 1 {
            return Ok(vec![own?]);
        }
        // A rank that was interrupted sends `None`.
        let all: Option<Vec<T>> = self.ranks.all_gather(&own.ok()).into_iter().collect();
        let all = all.ok_or(Interrupted)?;
        Ok(if self.ranks.is_first() { all } else { Vec::new() })
    }

    /// Evaluates a suite on at most `limit` items per task. Returns the results on rank 0, and `None` on
    /// other ranks.
    ///
    /// # Errors
    /// [`RunError::Interrupted`] if a rank was interrupted.
    pub(crate) fn evaluate_suite(
        &self,
        suite: &Suite,
        limit: Option<usize>,
    ) -> Result<Option<RoundResults>, RunError> {
        self.set_status();
        let round = EvaluationRound { limit, interrupted: self.interrupted };
        let shares = self.gather(suite.score(self.model, &round, self.share()))?;
        if !self.ranks.is_first() {
            return Ok(None);
        }
        let mut scores = RoundScores::default();
        for share in shares {
            scores.merge(share);
        }
        let mut results = suite.results(&round, &scores);
        // A task's seconds on all ranks, divided by their number.
        results.results.iter_mut().for_each(|result| result.seconds /= self.ranks.size() as f64);
        Ok(Some(results))
    }
}
