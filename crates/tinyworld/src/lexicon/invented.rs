//! Words without a meaning until a text defines one.

use crate::draw::Draw;

const ONSETS: [&str; 14] = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "t", "v", "z", "s"];
const VOWELS: [&str; 5] = ["a", "e", "i", "o", "u"];
/// Endings that are rare in English, so that hardly any result is a real word.
const CODAS: [&str; 6] = ["b", "f", "g", "k", "x", "z"];

/// Draws `count` different words of two syllables, such as "tokab" and "rimux".
pub(crate) fn words(draw: &mut Draw, count: usize) -> Vec<String> {
    let mut words: Vec<String> = Vec::with_capacity(count);
    while words.len() < count {
        let word = word(draw);
        if !words.contains(&word) {
            words.push(word);
        }
    }
    words
}

fn word(draw: &mut Draw) -> String {
    let mut word = String::new();
    for _ in 0..2 {
        word.push_str(draw.pick(&ONSETS));
        word.push_str(draw.pick(&VOWELS));
    }
    word + draw.pick(&CODAS)
}

/// Everyday words that an invented word can stand for.
pub(crate) const MEANINGS: [&str; 32] = [
    "water", "house", "bread", "tree", "stone", "fire", "horse", "moon", "river", "dog", "milk", "bird",
    "door", "salt", "rain", "star", "hand", "road", "fish", "snow", "wind", "apple", "king", "friend",
    "morning", "night", "song", "boat", "winter", "gold", "bridge", "wolf",
];
