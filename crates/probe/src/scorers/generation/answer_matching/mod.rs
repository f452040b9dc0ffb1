//! Whether an answer is correct.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::tasks::generation_rules::{AnswerEquality, ExactMatch, GenerationRules};
use crate::text::math::{between_dollars, boxed, is_equivalent};
use crate::text::pattern::Pattern;
use crate::text::whitespace::is_python_space;

/// Judgement of an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct AnswerVerdict {
    pub(crate) correct: bool,
    /// Token F1, if it is measured.
    pub(crate) score: Option<f64>,
}

impl GenerationRules {
    /// Judges `answer` against the `accepted` ones. Fails if a pattern does.
    pub(crate) fn judge(&self, answer: &str, accepted: &[String]) -> Result<AnswerVerdict, String> {
        let mut correct = false;
        for other in accepted {
            correct = correct || self.equality.holds(answer, other)?;
        }
        let best = || accepted.iter().map(|other| token_f1(answer, other)).fold(0.0, f64::max);
        Ok(AnswerVerdict { correct, score: self.token_f1.then(best) })
    }
}

impl AnswerEquality {
    fn holds(&self, answer: &str, accepted: &str) -> Result<bool, String> {
        Ok(match self {
            Self::ExactMatch(rule) => rule.counted(answer)? == rule.counted(accepted)?,
            Self::Words => words(answer) == words(accepted),
            Self::Math => {
                let accepted = boxed(accepted).unwrap_or(accepted);
                is_equivalent(between_dollars(answer), accepted)
            }
        })
    }
}

impl ExactMatch {
    /// Removes the parts of a text that are ignored: `exact_match_hf_evaluate` (`lm_eval/api/metrics.py`,
    /// version 0.4.13).
    fn counted(&self, text: &str) -> Result<String, String> {
        let remove = |text: String, pattern: &Pattern| pattern.removed_from(&text);
        let mut text = self.regexes_to_ignore.iter().try_fold(text.to_owned(), remove)?;
        if self.ignore_case {
            text = text.to_lowercase();
        }
        if self.ignore_punctuation {
            text.retain(|c| !c.is_ascii_punctuation());
        }
        if self.ignore_numbers {
            text.retain(|c| !c.is_ascii_digit());
        }
        Ok(text)
    }
}

/// Removes the characters that Unicode classifies as punctuation.
pub(crate) fn without_punctuation(text: &str) -> String {
    text.chars().filter(|&c| !is_punctuation(c)).collect()
}

fn is_punctuation(c: char) -> bool {
    static PUNCTUATION: LazyLock<Option<Pattern>> = LazyLock::new(|| Pattern::new(r"\p{P}").ok());
    let mut buffer = [0; 4];
    PUNCTUATION.as_ref().is_some_and(|pattern| pattern.is_in(c.encode_utf8(&mut buffer)))
}

/// The words of an answer as in `SQuAD`'s evaluation: in lower case, without ASCII punctuation, then without
/// articles.
fn words(text: &str) -> Vec<String> {
    static ARTICLE: LazyLock<Option<Pattern>> = LazyLock::new(|| Pattern::new(r"\b(a|an|the)\b").ok());
    let mut text = text.to_lowercase();
    text.retain(|c| !c.is_ascii_punctuation());
    if let Some(article) = &*ARTICLE {
        text = article.replaced_in(&text, " ");
    }
    text.split(is_python_space).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Harmonic mean of precision and recall of an answer's words (Rajpurkar et al., 2016). 0 if no word is
/// shared.
fn token_f1(answer: &str, accepted: &str) -> f64 {
    let (answer, accepted) = (words(answer), words(accepted));
    let mut left: HashMap<&str, usize> = HashMap::new();
    for word in &accepted {
        *left.entry(word).or_default() += 1;
    }
    let mut shared = 0;
    for word in &answer {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            shared += 1;
        }
    }
    if shared == 0 {
        return 0.0;
    }
    let precision = f64::from(shared) / answer.len() as f64;
    let recall = f64::from(shared) / accepted.len() as f64;
    2.0 * precision * recall / (precision + recall)
}

#[cfg(test)]
mod tests;
