//! `[generation]` of a task file.

use fineline_model::Sampling;
use serde::Deserialize;

use crate::tasks::generation_rules::{AnswerEquality, ExactMatch, GenerationRules, Pipeline};

/// Rules of generation and judgement in a task file. See [`GenerationRules`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct GenerationTable {
    until: Vec<String>,
    max_new_tokens: Option<usize>,
    attempts: Option<usize>,
    /// Absent: greedy decoding.
    temperature: Option<f64>,
    top_k: Option<usize>,
    top_p: Option<f64>,
    seed: Option<u64>,
    filters: Vec<Pipeline>,
    equality: EqualityName,
    exact_match: Option<ExactMatch>,
    f1: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EqualityName {
    #[default]
    ExactMatch,
    Words,
    Math,
}

impl GenerationTable {
    /// Converts to rules. On failure, the invalid key and the reason.
    pub(crate) fn rules(&self) -> Result<GenerationRules, (&'static str, String)> {
        let of_greedy = GenerationRules::default();
        let draws = [self.top_k.is_some(), self.top_p.is_some(), self.seed.is_some()];
        let sampling = match self.temperature {
            Some(temperature) => Sampling::Random {
                temperature,
                top_k: self.top_k,
                top_p: self.top_p,
                seed: self.seed.unwrap_or_default(),
            },
            None if draws.contains(&true) => {
                let message = "missing: `top_k`, `top_p` and `seed` require a temperature";
                return Err(("generation.temperature", message.to_owned()));
            }
            None => Sampling::Greedy,
        };
        let attempts = self.attempts.unwrap_or(of_greedy.attempts);
        if attempts > 1 && sampling == Sampling::Greedy {
            let message = format!("{attempts} greedy attempts would be identical: expected a temperature");
            return Err(("generation.temperature", message));
        }
        let equality = match (self.equality, &self.exact_match) {
            (EqualityName::ExactMatch, rule) => AnswerEquality::ExactMatch(rule.clone().unwrap_or_default()),
            (_, Some(_)) => {
                return Err(("generation.exact_match", "only with `equality = \"exact_match\"`".to_owned()));
            }
            (EqualityName::Words, None) => AnswerEquality::Words,
            (EqualityName::Math, None) => AnswerEquality::Math,
        };
        Ok(GenerationRules {
            until: self.until.clone(),
            max_new_tokens: self.max_new_tokens.unwrap_or(of_greedy.max_new_tokens),
            sampling,
            attempts,
            filters: self.filters.clone(),
            equality,
            token_f1: self.f1,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::generation_rules::FilterStep;

    fn rules(toml: &str) -> Result<GenerationRules, (&'static str, String)> {
        toml::from_str::<GenerationTable>(toml).unwrap().rules()
    }

    #[test]
    fn nothing_said_is_the_harness_s_default() {
        assert_eq!(rules("").unwrap(), GenerationRules::default());
    }

    #[test]
    fn filters_are_named_as_in_the_harness() {
        let rules = rules(
            "until = ['\\n']\nexact_match.regexes_to_ignore = [',']\n[[filters]]\nname = 'strict'\n\
             steps = [{ function = 'regex', regex_pattern = '#(.)', group_select = -1 }, { function = \
                 'take_first' }]",
        )
        .unwrap();
        assert_eq!(rules.until, ["\\n"]);
        let FilterStep::Regex(extraction) = &rules.filters[0].steps[0] else { panic!("{rules:?}") };
        assert_eq!((extraction.regex_pattern.source(), extraction.group_select), ("#(.)", -1));
        assert_eq!(
            (extraction.fallback.as_str(), &rules.filters[0].steps[1]),
            ("[invalid]", &FilterStep::TakeFirst)
        );
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        assert_eq!(rules("top_k = 3").unwrap_err().0, "generation.temperature");
        assert_eq!(rules("attempts = 3").unwrap_err().0, "generation.temperature");
        assert_eq!(rules("equality = 'math'\nexact_match = {}").unwrap_err().0, "generation.exact_match");
        let sampled = rules("attempts = 3\ntemperature = 0.8\nseed = 7").unwrap();
        assert_eq!(
            sampled.sampling,
            Sampling::Random { temperature: 0.8, top_k: None, top_p: None, seed: 7 }
        );
        let wrong = toml::from_str::<GenerationTable>(
            "[[filters]]\nname = 'x'\nsteps = [{ function = 'regex', regex_pattern = '(' }]",
        );
        assert!(wrong.unwrap_err().to_string().contains("is not a valid regular expression"));
        let unknown =
            toml::from_str::<GenerationTable>("[[filters]]\nname = 'x'\nsteps = [{ function = 'magic' }]");
        assert!(unknown.unwrap_err().to_string().contains("magic"));
    }
}
