//! Games with invented words, whose meaning is in the text itself.

use crate::domains::common::question;
use crate::draw::Draw;
use crate::english::Slots;
use crate::facts::WorldFacts;
use crate::lexicon::invented::{MEANINGS, words};
use crate::task::WorldItem;

const LISTS: [&str; 3] =
    ["{name} said: {list}.", "{name} wrote down: {list}.", "On the wall was written: {list}."];

const AGAIN: [&str; 2] = ["{other} said the same:", "{other} repeated it all:"];
const IN_PART: [&str; 2] = ["{other} remembered only a part:", "{other} repeated some of it:"];

/// Writes the start of a round: a list, and that a person repeats it in one of these ways.
fn said(world: &WorldFacts, draw: &mut Draw, list: &[String], again: &[&'static str]) -> String {
    let people = draw.sample(&world.people, 2);
    let slots = Slots::new().person(people[0]).other(people[1]).with("list", list.join(", "));
    slots.fill(&format!("{} {}", draw.pick(&LISTS), draw.pick(again)))
}

/// Writes lists of invented words, each repeated.
pub(crate) fn copying_game(world: &WorldFacts, draw: &mut Draw) -> String {
    let rounds: Vec<String> = (0..2)
        .map(|_| {
            let count = draw.between(5, 8) as usize;
            let list = words(draw, count);
            let (again, part) = if draw.one_in(2) {
                (&AGAIN, &list[..])
            } else {
                let start = draw.below(count - 3);
                (&IN_PART, &list[start..start + 4])
            };
            let part = part.join(", ");
            format!("{} {part}. \"Yes,\" said everybody, \"{part}.\"", said(world, draw, &list, again))
        })
        .collect();
    rounds.join("\n")
}

/// Writes a question about the next word of a partially repeated list.
///
/// The choices are words that occurred once. The right one is the first, second, third or last of them
/// equally often.
pub(crate) fn copying(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let mut list = words(draw, 8);
    let rank = draw.below(4);
    let next = rank + 2 + draw.below(3);
    let context = format!("{} {},", said(world, draw, &list, &IN_PART), list[next - 2..next].join(", "));
    let mut later = list.split_off(next + 1);
    let right = list.swap_remove(next);
    list.truncate(next - 2);
    for (words, count) in [(&mut list, rank), (&mut later, 3 - rank)] {
        draw.shuffle(words);
        words.truncate(count);
    }
    list.append(&mut later);
    draw.shuffle(&mut list);
    WorldItem::choice(context, right, list, place)
}

/// Invented words with their meanings, and questions about them.
struct Glossary {
    entries: Vec<(String, &'static str)>,
}

impl Glossary {
    fn new(draw: &mut Draw) -> Self {
        let invented = words(draw, 4);
        let meanings = draw.sample(&MEANINGS, 4).into_iter();
        Self { entries: invented.into_iter().zip(meanings).collect() }
    }

    fn written(&self, world: &WorldFacts, draw: &mut Draw) -> String {
        let entries: Vec<String> =
            self.entries.iter().map(|(word, meaning)| format!("{word} means {meaning}")).collect();
        let person = draw.pick(&world.people);
        format!("In the language of {}'s island, {}.", person.name, entries.join(", "))
    }

    fn ask(word: &str) -> String {
        question(&format!("What does {word} mean?"))
    }
}

/// Writes glossaries and questions about them.
pub(crate) fn glossary_lesson(world: &WorldFacts, draw: &mut Draw) -> String {
    let mut lines = Vec::new();
    for _ in 0..2 {
        let mut glossary = Glossary::new(draw);
        lines.push(glossary.written(world, draw));
        draw.shuffle(&mut glossary.entries);
        for (word, meaning) in &glossary.entries[..3] {
            lines.push(format!("{} {meaning}", Glossary::ask(word)));
        }
    }
    lines.join("\n")
}

/// Writes a question about the meaning of an invented word that the context explains.
pub(crate) fn translation(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let glossary = Glossary::new(draw);
    let (word, meaning) = &glossary.entries[draw.below(glossary.entries.len())];
    let context = format!("{}\n{}", glossary.written(world, draw), Glossary::ask(word));
    let others = glossary.entries.iter().map(|(_, other)| other).filter(|&other| other != meaning);
    WorldItem::choice(context, *meaning, others.map(|&other| other.to_owned()).collect(), place)
}
