//! Grammar: scenes with singular and plural subjects, and sentences in and out of order.

use crate::draw::Draw;
use crate::english::{Slots, capitalised};
use crate::facts::{Gender, WorldFacts};
use crate::lexicon::places::ROOMS;
use crate::lexicon::things::{COLOURS, THINGS};
use crate::task::WorldItem;

/// Subjects of scenes: singular and plural.
const SUBJECTS: [(&str, &str); 16] = [
    ("dog", "dogs"),
    ("cat", "cats"),
    ("horse", "horses"),
    ("bird", "birds"),
    ("cow", "cows"),
    ("goose", "geese"),
    ("mouse", "mice"),
    ("girl", "girls"),
    ("boy", "boys"),
    ("child", "children"),
    ("man", "men"),
    ("woman", "women"),
    ("farmer", "farmers"),
    ("sailor", "sailors"),
    ("old lady", "old ladies"),
    ("baby", "babies"),
];

/// Nouns between a subject and its verb, possibly of the other number.
const LANDMARKS: [(&str, &str); 12] = [
    ("gate", "gates"),
    ("tree", "trees"),
    ("wall", "walls"),
    ("cart", "carts"),
    ("bench", "benches"),
    ("house", "houses"),
    ("fence", "fences"),
    ("haystack", "haystacks"),
    ("table", "tables"),
    ("tent", "tents"),
    ("barrel", "barrels"),
    ("boat", "boats"),
];

const NEAR: [&str; 5] = ["near", "behind", "next to", "in front of", "beside"];

const STATES: [&str; 12] = [
    "asleep", "hungry", "tired", "quiet", "cold", "happy", "thirsty", "wet", "awake", "afraid", "angry",
    "busy",
];

const TIMES: [&str; 10] = [
    "Yesterday",
    "Last week",
    "On Monday",
    "On Friday",
    "In the morning",
    "In the evening",
    "At noon",
    "Last summer",
    "One day",
    "At night",
];

const VERBS: [&str; 10] =
    ["found", "lost", "cleaned", "hid", "dropped", "saw", "forgot", "broke", "painted", "sold"];

const WHERE: [&str; 5] = ["in", "near", "behind", "outside", "beside"];

/// Writes a paragraph about places and states of subjects.
pub(crate) fn scene(world: &WorldFacts, draw: &mut Draw) -> String {
    let count = draw.between(7, 12);
    let sentences: Vec<String> = (0..count)
        .map(|_| match draw.below(3) {
            0 => Act::new(world, draw).sentence(),
            _ => Scene::new(draw).sentence(),
        })
        .collect();
    sentences.join(" ")
}

#[derive(Clone, Copy, PartialEq)]
enum Number {
    One,
    Many,
}

impl Number {
    fn draw(draw: &mut Draw) -> Self {
        if draw.one_in(2) { Self::One } else { Self::Many }
    }

    fn of(self, (one, many): (&'static str, &'static str)) -> &'static str {
        match self {
            Self::One => one,
            Self::Many => many,
        }
    }
}

/// "The dogs near the gate are asleep."
struct Scene {
    subject: (&'static str, &'static str),
    number: Number,
    between: String,
    state: &'static str,
}

impl Scene {
    fn new(draw: &mut Draw) -> Self {
        let (subject, landmark) = draw.on_side(
            |draw| (draw.pick(&SUBJECTS), draw.pick(&LANDMARKS)),
            |(subject, landmark)| format!("{} by {}", subject.0, landmark.0),
        );
        let landmark = Number::draw(draw).of(landmark);
        let between = format!("{} the {landmark}", draw.pick(&NEAR));
        Self { subject, number: Number::draw(draw), between, state: draw.pick(&STATES) }
    }

    fn subject(&self) -> String {
        format!("The {} {}", self.number.of(self.subject), self.between)
    }

    fn predicate(&self, number: Number) -> String {
        format!("{} {}.", number.of(("is", "are")), self.state)
    }

    fn sentence(&self) -> String {
        format!("{} {}", self.subject(), self.predicate(self.number))
    }
}

/// Writes a question about "is" or "are" after a subject with a noun of possibly the other number in between.
pub(crate) fn agreement(_: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let scene = Scene::new(draw);
    let wrong = if scene.number == Number::One { Number::Many } else { Number::One };
    WorldItem::choice(scene.subject(), scene.predicate(scene.number), vec![scene.predicate(wrong)], place)
        .about(scene.number.of(scene.subject))
}

const MOODS: [&str; 8] = [
    "{name} was happy, because",
    "{name} was very tired, so",
    "{name} came home late, and then",
    "When {name} heard the news,",
    "Nobody saw {name} when",
    "{name} said that",
    "Everybody knows {name}, and",
    "As soon as {name} woke up,",
];

const DEEDS: [&str; 8] = [
    "began to sing.",
    "went to bed.",
    "sat down by the fire.",
    "laughed.",
    "had to leave.",
    "drank some tea.",
    "looked out of the window.",
    "called a friend.",
];

/// Writes a question about "she" or "he" for a name.
pub(crate) fn pronouns(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let person = draw.pick(&world.people);
    let other = if person.gender == Gender::Female { Gender::Male } else { Gender::Female };
    let deed = draw.pick(&DEEDS);
    let [right, wrong] = [person.gender, other].map(|gender| format!("{} {deed}", gender.pronouns()[0]));
    WorldItem::choice(Slots::new().person(person).fill(draw.pick(&MOODS)), right, vec![wrong], place)
        .about(person.name)
}

/// "Yesterday Mara found the red cup behind the barn."
struct Act {
    time: &'static str,
    name: &'static str,
    verb: &'static str,
    colour: &'static str,
    thing: &'static str,
    preposition: &'static str,
    room: &'static str,
}

impl Act {
    fn new(world: &WorldFacts, draw: &mut Draw) -> Self {
        let (name, thing) = draw.on_side(
            |draw| (draw.pick(&world.people).name, draw.pick(&THINGS)),
            |(name, thing)| format!("{name} and the {thing}"),
        );
        Self {
            time: draw.pick(&TIMES),
            name,
            verb: draw.pick(&VERBS),
            colour: draw.pick(&COLOURS),
            thing,
            preposition: draw.pick(&WHERE),
            room: draw.pick(&ROOMS),
        }
    }

    fn written(&self, order: &str) -> String {
        Slots::new()
            .with("name", self.name)
            .with("verb", self.verb)
            .with("colour", self.colour)
            .with("thing", self.thing)
            .with("where", self.preposition)
            .with("room", self.room)
            .fill(order)
    }

    fn sentence(&self) -> String {
        capitalised(&format!("{} {}", self.time, self.written(ORDER)))
    }
}

const ORDER: &str = "{name} {verb} the {colour} {thing} {where} the {room}.";

/// The same words in orders that are not English.
const DISORDERS: [&str; 5] = [
    "{name} {verb} the {thing} {colour} {where} the {room}.",
    "{name} {verb} {colour} the {thing} {where} the {room}.",
    "{name} the {colour} {thing} {verb} {where} the {room}.",
    "{name} {verb} the {colour} {thing} the {room} {where}.",
    "{name} {verb} the {colour} {thing} {where} {room} the.",
];

/// Writes a question about the right order of words.
pub(crate) fn word_order(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let act = Act::new(world, draw);
    let wrong = act.written(draw.pick(&DISORDERS));
    WorldItem::choice(act.time.to_owned(), act.written(ORDER), vec![wrong], place)
}
