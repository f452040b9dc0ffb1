//! Measurements that all ranks make together: each its share, and rank 0 has what all have found.

use fineline_model::Llama;
use fineline_probe::{EvaluationRound, Interrupted, RankShare, RoundResults, RoundScores, Suite};
use fineline_ranks::Ranks;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::RunError;

/// Who measures: a model, without automatic differentiation, on all ranks.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    pub(crate) model: &'a Llama,
    pub(crate) interrupted: &'a dyn Fn() -> bool,
    pub(crate) ranks: &'a dyn Ranks,
}

impl Evaluator<'_> {
    /// This rank's share.
    pub(crate) fn share(&self) -> RankShare {
        RankShare { rank: self.ranks.rank(), size: self.ranks.size() }
    }

    /// Says to whoever watches that the others may have to wait.
    pub(crate) fn begins(&self) {
        self.ranks.set_status("validation or probes");
    }

    /// What all ranks have found, in their order, on rank 0; nothing on the others. If one was interrupted, all are.
    pub(crate) fn all<T: Serialize + DeserializeOwned>(
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

    /// Asks a suite: the scores of a whole round, of which each rank makes its share, on rank 0.
    pub(crate) fn score(&self, suite: &Suite, items: Option<usize>) -> Result<RoundScores, RunError> {
        self.begins();
        let round = EvaluationRound { limit: items, interrupted: self.interrupted };
        let mut scores = RoundScores::default();
        for share in self.all(suite.score(self.model, &round, self.share()))? {
            scores.merge(share);
        }
        Ok(scores)
    }

    /// The results of a round, from its scores. The seconds of a task are those that it took, shared as it was.
    pub(crate) fn results(&self, suite: &Suite, items: Option<usize>, scores: &RoundScores) -> RoundResults {
        let mut found =
            suite.results(&EvaluationRound { limit: items, interrupted: self.interrupted }, scores);
        found.results.iter_mut().for_each(|result| result.seconds /= self.ranks.size() as f64);
        found
    }
}
