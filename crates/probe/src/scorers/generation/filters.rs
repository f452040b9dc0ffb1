//! Filters that extract from a generated text what is judged: those of lm-evaluation-harness 0.4.13
//! (`lm_eval/filters`).

use std::collections::HashMap;

use crate::scorers::generation::answer_matching::without_punctuation;
use crate::tasks::generation_rules::{ChoiceExtraction, Extraction, FilterStep, Pipeline};
use crate::text::math::boxed;
use crate::text::pattern::Pattern;
use crate::text::whitespace::is_python_space;

impl Pipeline {
    /// Extracts what is judged from the attempts at an item with these `choices`: one or more answers. Fails
    /// if a pattern does.
    pub(crate) fn apply(&self, attempts: &[String], choices: &[String]) -> Result<Vec<String>, String> {
        self.steps.iter().try_fold(attempts.to_vec(), |answers, step| step.apply(answers, choices))
    }
}

impl FilterStep {
    fn apply(&self, mut answers: Vec<String>, choices: &[String]) -> Result<Vec<String>, String> {
        let each = |answers: Vec<String>, change: &dyn Fn(&str) -> String| {
            answers.iter().map(|answer| change(answer)).collect::<Vec<_>>()
        };
        Ok(match self {
            Self::Regex(extraction) => {
                answers.iter().map(|answer| extraction.apply(answer)).collect::<Result<_, _>>()?
            }
            Self::MultiChoiceRegex(extraction) => {
                let letters = ChoiceLetters::new(extraction, choices)?;
                answers.iter().map(|answer| letters.find(answer)).collect::<Result<_, _>>()?
            }
            Self::TakeFirst => {
                answers.truncate(1);
                answers
            }
            Self::TakeFirstK { k } => {
                answers.truncate(*k);
                answers
            }
            Self::MajorityVote => majority(&answers),
            Self::RemoveWhitespace => {
                each(answers, &|answer| answer.trim_matches(is_python_space).to_owned())
            }
            Self::Boxed => each(answers, &|answer| boxed(answer).unwrap_or(answer).to_owned()),
            Self::Lowercase => each(answers, &str::to_lowercase),
            Self::Uppercase => each(answers, &str::to_uppercase),
            Self::Map { mapping_dict, default_value } => {
                each(answers, &|answer| mapping_dict.get(answer).unwrap_or(default_value).clone())
            }
        })
    }
}

impl Extraction {
    fn apply(&self, answer: &str) -> Result<String, String> {
        let matches = self.regex_pattern.find_all(answer)?;
        Ok(match selected(&matches, self.group_select) {
            // A pattern with several groups that are all empty found nothing. A pattern with one group did.
            Some(text) if text.is_empty() && self.regex_pattern.groups() > 1 => self.fallback.clone(),
            Some(text) => text.trim_matches(is_python_space).to_owned(),
            None => self.fallback.clone(),
        })
    }
}

/// An element by Python's index. The harness fails if it is out of range. Here, that counts as not found.
fn selected(matches: &[String], index: i64) -> Option<&String> {
    let magnitude = usize::try_from(index.unsigned_abs()).ok()?;
    let index = if index < 0 { matches.len().checked_sub(magnitude)? } else { magnitude };
    matches.get(index)
}

/// The most frequent answer. Among equally frequent ones, the first.
fn majority(answers: &[String]) -> Vec<String> {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    let most = counts.values().copied().max();
    let first = answers.iter().find(|answer| counts.get(answer.as_str()).copied() == most).cloned();
    first.into_iter().collect()
}

/// Finds the letter of a choice in an answer (`MultiChoiceRegexFilter`).
struct ChoiceLetters<'a> {
    extraction: &'a ChoiceExtraction,
    /// Normalized texts of the choices, with their letters.
    texts: Vec<(String, String)>,
    /// Matches any of these texts, the longest first.
    text: Pattern,
    /// Matches a letter after a colon.
    letter: Pattern,
}

impl<'a> ChoiceLetters<'a> {
    fn new(extraction: &'a ChoiceExtraction, choices: &[String]) -> Result<Self, String> {
        let letters: Vec<char> = ('A'..).take(choices.len()).collect();
        let text = |choice: &String| extraction.counted(choice.trim_matches(is_python_space));
        let texts: Vec<String> = choices.iter().map(text).collect::<Result<_, _>>()?;
        let mut longest_first: Vec<&String> = texts.iter().collect();
        longest_first.sort_by_key(|text| std::cmp::Reverse(escaped(text).chars().count()));
        let any: Vec<String> = longest_first.into_iter().map(|text| escaped(text)).collect();
        let any_letter: Vec<String> = letters.iter().map(char::to_string).collect();
        Ok(Self {
            extraction,
            text: Pattern::new(&any.join("|"))?,
            letter: Pattern::new(&format!(r":[\s]*({})", any_letter.join("|")))?,
            texts: texts
                .into_iter()
                .zip(letters)
                .map(|(text, letter)| (text, format!("({letter})")))
                .collect(),
        })
    }

    fn find(&self, answer: &str) -> Result<String, String> {
        let index = self.extraction.group_select;
        let select = |pattern: &Pattern, text: &str| {
            let found = selected(&pattern.find_all(text)?, index).cloned().unwrap_or_default();
            Ok::<_, String>(found.trim_matches(is_python_space).to_owned())
        };
        let found = select(&self.extraction.regex_pattern, answer)?;
        if !found.is_empty() {
            return Ok(found);
        }
        let found = select(&self.text, &self.extraction.counted(answer)?)?;
        if !found.is_empty() {
            // Of equal texts, the last one's letter counts.
            let letter = self.texts.iter().rev().find(|(text, _)| *text == found);
            return Ok(letter.map_or(found, |(_, letter)| letter.clone()));
        }
        let found = select(&self.letter, answer)?;
        Ok(if found.is_empty() { self.extraction.fallback.clone() } else { format!("({found})") })
    }
}

impl ChoiceExtraction {
    /// Removes the parts of a text that are ignored.
    fn counted(&self, text: &str) -> Result<String, String> {
        let remove = |text: String, pattern: &Pattern| pattern.removed_from(&text);
        let mut text = self.regexes_to_ignore.iter().try_fold(text.to_owned(), remove)?;
        if self.ignore_case {
            text = text.to_lowercase();
        }
        Ok(if self.ignore_punctuation { without_punctuation(&text) } else { text })
    }
}

/// A pattern that matches the text literally.
fn escaped(text: &str) -> String {
    fancy_regex::escape(text).into_owned()
}
