//! Validation and probes on all ranks: each measures its share, and rank 0 has what all have found.
//!
//! Rank 0 alone knows what is to be measured at a step; it [says so](Order) at every start and after every step. The others have a
//! [`Helper`] in the place of rank 0's observer. Batches are dealt out, and a batch has the same scores whoever takes it: what is found
//! doesn't depend on the number of ranks.

use fineline_model::Llama;
use fineline_probe::{Interrupted, Round, RoundResults, RoundScores, Share, Suite};
use fineline_ranks::Ranks;
use fineline_train::{Control, Observer, ObserverError, StepReport, View};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::RunError;
use crate::validation::Validation;

/// What all ranks are to measure at a step.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Order {
    /// Whether to validate.
    pub(crate) validates: bool,
    /// The suites that are asked, by their places, and the items per task at most.
    pub(crate) asked: Vec<(usize, Option<usize>)>,
}

impl Order {
    pub(crate) fn is_empty(&self) -> bool {
        !self.validates && self.asked.is_empty()
    }

    /// Tells the other ranks. They wait for it at every start and after every step.
    pub(crate) fn give(&self, ranks: &dyn Ranks) {
        if ranks.size() > 1 {
            ranks.broadcast(Some(self.clone()));
        }
    }
}

/// Who measures: a model, without automatic differentiation, on all ranks.
#[derive(Clone, Copy)]
pub(crate) struct Measuring<'a> {
    pub(crate) model: &'a Llama,
    pub(crate) interrupted: &'a dyn Fn() -> bool,
    pub(crate) ranks: &'a dyn Ranks,
}

impl Measuring<'_> {
    /// This rank's share.
    pub(crate) fn share(&self) -> Share {
        Share { rank: self.ranks.rank(), of: self.ranks.size() }
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
        let round = Round { items, interrupted: self.interrupted };
        let mut scores = RoundScores::default();
        for share in self.all(suite.score(self.model, &round, self.share()))? {
            scores.merge(share);
        }
        Ok(scores)
    }

    /// The results of a round, from its scores. The seconds of a task are those that it took, shared as it was.
    pub(crate) fn results(&self, suite: &Suite, items: Option<usize>, scores: &RoundScores) -> RoundResults {
        let mut found = suite.results(&Round { items, interrupted: self.interrupted }, scores);
        found.results.iter_mut().for_each(|result| result.seconds /= self.ranks.size() as f64);
        found
    }
}

/// What a rank other than the first does at a step besides training: its share of what is measured.
pub(crate) struct Helper<'a> {
    pub(crate) validation: Validation<'a>,
    pub(crate) suites: &'a [Suite],
    pub(crate) ranks: &'a dyn Ranks,
}

impl Helper<'_> {
    fn help(&self, view: &View<'_>) -> Result<Control, RunError> {
        let order: Order = self.ranks.broadcast(None);
        if order.is_empty() {
            return Ok(Control::Continue);
        }
        let model = view.model.valid();
        let interrupted = || view.stop.requested().is_some();
        let measuring = Measuring { model: &model, interrupted: &interrupted, ranks: self.ranks };
        match self.follow(&order, &measuring) {
            Err(RunError::Interrupted(_)) => Ok(Control::Continue),
            done => done.map(|()| Control::Continue),
        }
    }

    fn follow(&self, order: &Order, measuring: &Measuring<'_>) -> Result<(), RunError> {
        if order.validates {
            self.validation.score(measuring)?;
        }
        for &(place, items) in &order.asked {
            measuring.score(&self.suites[place], items)?;
        }
        Ok(())
    }
}

impl Observer for Helper<'_> {
    fn on_start(&mut self, view: &View<'_>) -> Result<Control, ObserverError> {
        Ok(self.help(view)?)
    }

    fn on_step(&mut self, _: &StepReport, view: &View<'_>) -> Result<Control, ObserverError> {
        Ok(self.help(view)?)
    }
}
