//! Composition of sentences: templates with slots, articles, capitals, lists.

use crate::facts::Person;

/// The words for the slots of a template.
///
/// A slot is `{slot}`. `{Slot}` capitalizes the words, and `{a slot}` and `{A slot}` put the indefinite
/// article before them.
#[derive(Clone, Default)]
pub(crate) struct Slots(Vec<(&'static str, String)>);

impl Slots {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with(mut self, slot: &'static str, words: impl Into<String>) -> Self {
        self.0.push((slot, words.into()));
        self
    }

    /// Adds `{name}` and the pronouns `{she}`, `{him}` and `{her}` (possessive).
    pub(crate) fn person(self, person: Person) -> Self {
        let [she, him, her] = person.gender.pronouns();
        self.with("name", person.name).with("she", she).with("him", him).with("her", her)
    }

    /// Adds the second person of a sentence: `{other}`, `{other_she}`, `{other_him}` and `{other_her}`.
    pub(crate) fn other(self, person: Person) -> Self {
        let [she, him, her] = person.gender.pronouns();
        self.with("other", person.name).with("other_she", she).with("other_him", him).with("other_her", her)
    }

    /// Fills all slots of a template.
    ///
    /// # Panics
    /// If a slot of the template has no words. That is an error in the tables of this crate, which the tests
    /// cover completely.
    pub(crate) fn fill(&self, template: &str) -> String {
        let mut out = String::with_capacity(template.len() * 2);
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let (slot, tail) = after.split_once('}').expect("templates close their slots");
            out.push_str(before);
            out.push_str(&self.word(slot));
            rest = tail;
        }
        out + rest
    }

    fn word(&self, slot: &str) -> String {
        if let Some(inner) = slot.strip_prefix("a ") {
            return indefinite(&self.word(inner));
        }
        if let Some(inner) = slot.strip_prefix("A ") {
            return capitalised(&indefinite(&self.word(inner)));
        }
        let key = slot.to_ascii_lowercase();
        let found = self.0.iter().rev().find(|(name, _)| *name == key);
        let word = &found.unwrap_or_else(|| panic!("no words for the slot {{{slot}}}")).1;
        if key == slot { word.clone() } else { capitalised(word) }
    }
}

/// Returns `noun` with "a" or "an".
pub(crate) fn indefinite(noun: &str) -> String {
    let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
    format!("{} {noun}", if vowel { "an" } else { "a" })
}

/// Returns `text` with its first letter in upper case.
pub(crate) fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Returns a list as a phrase: "a", "a and b", "a, b and c".
pub(crate) fn listed<T: AsRef<str>>(items: &[T]) -> String {
    match items {
        [] => String::new(),
        [only] => only.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", first.join(", "), last.as_ref())
        }
    }
}

/// Returns `count` with its noun in the right number: "1 apple", "3 apples".
pub(crate) fn counted(count: u32, (singular, plural): (&str, &str)) -> String {
    format!("{count} {}", if count == 1 { singular } else { plural })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_filled_with_capitals_and_articles() {
        let slots = Slots::new().with("thing", "old hat").with("she", "he");
        assert_eq!(slots.fill("{She} saw {a thing}. {A thing}!"), "He saw an old hat. An old hat!");
        assert_eq!(slots.fill(""), "");
    }

    #[test]
    fn the_last_word_given_for_a_slot_counts() {
        assert_eq!(Slots::new().with("x", "1").with("x", "2").fill("{x}"), "2");
    }

    #[test]
    #[should_panic(expected = "no words for the slot {place}")]
    fn a_slot_without_words_is_an_error() {
        Slots::new().fill("in the {place}");
    }

    #[test]
    fn lists_and_counts() {
        assert_eq!(listed::<&str>(&[]), "");
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b"]), "a and b");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(counted(1, ("egg", "eggs")), "1 egg");
        assert_eq!(counted(0, ("egg", "eggs")), "0 eggs");
    }
}
