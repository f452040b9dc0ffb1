//! Detection of items in training text.

use std::collections::{BTreeMap, HashSet};

use crate::task::WorldItem;

/// Number of consecutive words that two texts may not share.
///
/// Texts that share this many words share more than sentence patterns: a window of this length covers two or
/// three sentences, and therefore several drawn names, things and places. (The authors of GPT-3 used 13 words
/// for text from the web. Here, where sentences follow patterns, the fixed words between two drawn ones can
/// alone be as many.)
pub const WINDOW: usize = 20;

/// The word sequences of a set of items, to detect them in other text.
///
/// An item is its context with the right answer, as lower-case words without punctuation. An item of more
/// than [`WINDOW`] words is detected by any `WINDOW` consecutive words of it, a shorter one only as a whole.
#[derive(Clone, Debug, Default)]
pub struct Holdout {
    /// Hashes of word sequences, by length in words.
    sequences: BTreeMap<usize, HashSet<u64>>,
}

impl Holdout {
    /// Collects the sequences of `items`.
    pub fn new<'a>(items: impl IntoIterator<Item = &'a WorldItem>) -> Self {
        let mut holdout = Self::default();
        for item in items {
            let answered = item.answered();
            let hashes: Vec<u64> = words(&answered).map(hash).collect();
            let length = hashes.len().min(WINDOW);
            if length > 0 {
                holdout.sequences.entry(length).or_default().extend(hashes.windows(length).map(combine));
            }
        }
        holdout
    }

    /// Returns a part of an item that occurs in `text`, if there is one.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<String> {
        let words: Vec<&str> = words(text).collect();
        let hashes: Vec<u64> = words.iter().copied().map(hash).collect();
        self.sequences.iter().find_map(|(&length, held)| {
            let start = hashes.windows(length).position(|window| held.contains(&combine(window)))?;
            Some(words[start..start + length].join(" "))
        })
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty())
}

/// Returns the hash of a word, regardless of case.
fn hash(word: &str) -> u64 {
    let digest = blake3::hash(word.to_lowercase().as_bytes());
    u64::from_le_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

/// Returns the hash of a sequence, which depends on the order of the words.
fn combine(words: &[u64]) -> u64 {
    words
        .iter()
        .fold(0, |sequence, word| (sequence ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holdout(context: &str, answer: &str) -> Holdout {
        Holdout::new(&[WorldItem::only(context.to_owned(), answer)])
    }

    #[test]
    fn a_short_item_is_found_whole_whatever_the_punctuation() {
        let holdout = holdout("What is 2 plus 3?\nAnswer:", "5");
        let found = holdout.find("Well. \"What is 2 plus 3?\" Answer: 5. Good.");
        assert_eq!(found.as_deref(), Some("What is 2 plus 3 Answer 5"));
        assert_eq!(holdout.find("What is 2 plus 3? Answer: 6"), None);
        assert_eq!(holdout.find(""), None);
    }

    #[test]
    fn a_long_item_is_found_by_any_window() {
        let numbers: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let holdout = holdout(&numbers[..29].join(" "), &numbers[29]);
        assert!(holdout.find(&numbers[5..25].join(" ")).is_some());
        assert_eq!(holdout.find(&numbers[5..24].join(" ")), None);
    }

    #[test]
    fn an_empty_item_is_nowhere() {
        assert_eq!(holdout("", "").find("any text"), None);
    }
}
