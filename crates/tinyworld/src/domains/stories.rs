//! Short stories about two people, from plots whose stages have several wordings each.

use crate::domains::common::cast;
use crate::draw::Draw;
use crate::english::Slots;
use crate::facts::WorldFacts;
use crate::lexicon::places::{ERRANDS, ROOMS};
use crate::lexicon::things::{COLOURS, THINGS, TOOLS};
use crate::task::WorldItem;

/// A plot: its stages in order, each with its wordings.
type Plot = &'static [&'static [&'static str]];

const LOSS: Plot = &[
    &[
        "One morning {name} could not find {her} {thing}.",
        "On Monday {name} lost {her} {thing}.",
        "{name} had {a thing}, but one day it was gone.",
    ],
    &[
        "{She} looked in the {room}, but it was not there.",
        "{She} searched the {room} and found nothing.",
        "\"It must be in the {room},\" said {name}, but {she} was wrong.",
    ],
    &[
        "Then {she} asked {other} for help.",
        "{name} was sad, and {other} wanted to help.",
        "{other} heard about it and came at once.",
    ],
    &[
        "{other} went to the {far_room} and looked around.",
        "Together they searched the {far_room}.",
        "\"Did you look in the {far_room}?\" asked {other}.",
    ],
    &[
        "There was the {thing}, under an old blanket.",
        "And there it was, behind the door.",
        "The {thing} was in the {far_room}!",
    ],
    &[
        "{name} was very happy and thanked {other}.",
        "{name} laughed and put the {thing} on the table.",
        "\"Thank you, {other},\" said {name}, and they drank some tea.",
    ],
];

const WORK: Plot = &[
    &[
        "{name} wanted to {use}.",
        "It was a hot day, and {name} had to {use}.",
        "{name} had promised {other} to {use}.",
    ],
    &[
        "But {she} could not find {tool} anywhere.",
        "\"I cannot {use} without {tool},\" said {name}.",
        "For that {she} needed {tool}.",
    ],
    &[
        "{She} went to the {room} and looked for one.",
        "{She} thought for a while.",
        "Then {other} came by and asked what was wrong.",
    ],
    &[
        "{other} ran home and came back with {tool}.",
        "\"You can have mine,\" said {other} and brought {tool}.",
        "Luckily {other} had {tool} in the {far_room}.",
    ],
    &[
        "Now {name} could {use}.",
        "With {tool}, {name} could {use} at last.",
        "It did not take long to {use}.",
    ],
    &[
        "Afterwards they ate {food} together.",
        "{other} was pleased, and so was {name}.",
        "\"What would I do without you?\" said {name} to {other}.",
    ],
];

const JOURNEY: Plot = &[
    &[
        "One day {name} set out for the {place}, because {she} had to {need}.",
        "Early in the morning {name} left the house to {need}.",
        "{name} was on {her} way to the {place} to {need}.",
    ],
    &[
        "On the road {she} met {other}.",
        "Near the old bridge {other} was waiting.",
        "{other} saw {him} and called.",
    ],
    &[
        "\"Where are you going?\" asked {other}.",
        "{other} was carrying {a thing}.",
        "\"Good morning, {name},\" said {other}.",
    ],
    &[
        "\"To the {place},\" said {name}. \"Will you come with me?\"",
        "\"I am going to the {place},\" said {name}.",
        "\"Come with me to the {place},\" said {name}.",
    ],
    &[
        "It began to rain, and both of them got wet.",
        "The sun was shining, and they talked about {food}.",
        "They walked fast, because it was cold.",
    ],
    &[
        "At the {place} {name} could {need} at last.",
        "{name} and {other} came to the {place}, where {name} could {need}.",
        "The {place} was open, and {name} was glad.",
    ],
    &[
        "In the evening they were tired but happy.",
        "Then they went home together.",
        "{other} came home late that night.",
    ],
];

const ANIMAL: Plot = &[
    &[
        "{name} went out with {her} {pet}.",
        "One day the {pet} of {name} was very hungry.",
        "{name} and {other} were playing with the {pet}.",
    ],
    &[
        "Suddenly the {pet} heard a noise and ran into the {room}.",
        "When nobody was looking, it ran away and hid in the {room}.",
        "Then a loud bell rang, and the {pet} was gone.",
    ],
    &[
        "{name} called, but it did not come.",
        "{name} was afraid that it would not come back.",
        "They looked for it in the {far_room}, but it was not there.",
    ],
    &[
        "{other} had an idea and brought some {food}.",
        "\"It likes {food},\" said {other}.",
        "{other} put some {food} by the door.",
    ],
    &[
        "The {pet} smelled the {food} and came out of the {room}.",
        "Soon the {pet} came back to eat.",
        "After a while the {pet} looked out of the {room}.",
    ],
    &[
        "{name} laughed, and {other} laughed, too.",
        "{name} was so glad that {she} sang.",
        "That night everybody slept well.",
    ],
];

const GIFT: Plot = &[
    &[
        "{name} and {other} went to the {place} together.",
        "One day {other} met {name} near the {place}.",
        "{name} was waiting near the {place} when {other} came.",
    ],
    &[
        "On the way {name} bought {a thing}.",
        "{name} had {a thing} in {her} bag.",
        "In the grass {name} found {a thing}.",
    ],
    &[
        "{other} looked at the {thing} for a long time.",
        "\"What a beautiful thing!\" said {other}.",
        "\"I lost mine last winter,\" said {other}.",
    ],
    &[
        "{name} thought of the good old days with {other}.",
        "{name} smiled.",
        "It was the birthday of {other}.",
    ],
];

/// Sentences that end with the name of the person who is given something.
const GIVING: [&str; 4] = [
    "So {she} gave the {thing} to {other}.",
    "Then {name} gave the {thing} to {other}.",
    "Before they went home, {name} handed the {thing} to {other}.",
    "In the end {she} made a present of the {thing} to {other}.",
];

fn slots(world: &WorldFacts, draw: &mut Draw) -> Slots {
    let people = cast(world, draw, 2);
    let rooms = draw.sample(&ROOMS, 2);
    let tool = draw.pick(&TOOLS);
    let errand = draw.pick(&ERRANDS);
    Slots::new()
        .person(people[0])
        .other(people[1])
        .with("pet", people[0].pet)
        .with("food", people[1].food)
        .with("thing", format!("{} {}", draw.pick(&COLOURS), draw.pick(&THINGS)))
        .with("room", rooms[0])
        .with("far_room", rooms[1])
        .with("tool", tool.name)
        .with("use", draw.pick(&tool.uses))
        .with("place", errand.place)
        .with("need", draw.pick(&errand.needs))
}

fn told(plot: Plot, slots: &Slots, draw: &mut Draw) -> String {
    let stages: Vec<String> = plot.iter().map(|stage| slots.fill(draw.pick(stage))).collect();
    stages.join(" ")
}

fn story(world: &WorldFacts, draw: &mut Draw) -> String {
    let slots = slots(world, draw);
    match draw.below(6) {
        0 => told(LOSS, &slots, draw),
        1 => told(WORK, &slots, draw),
        2 => told(JOURNEY, &slots, draw),
        3 => told(ANIMAL, &slots, draw),
        _ => format!("{} {}", told(GIFT, &slots, draw), slots.fill(draw.pick(&GIVING))),
    }
}

/// Writes two stories.
pub(crate) fn stories(world: &WorldFacts, draw: &mut Draw) -> String {
    format!("{}\n{}", story(world, draw), story(world, draw))
}

/// Writes a story to predict.
pub(crate) fn unread(world: &WorldFacts, draw: &mut Draw, _: usize) -> WorldItem {
    WorldItem::only(String::new(), story(world, draw))
}

/// Writes a question about the last word of a story of two people: the one who is given something.
pub(crate) fn last_word(world: &WorldFacts, draw: &mut Draw, _: usize) -> WorldItem {
    let slots = slots(world, draw);
    let story = format!("{} {}", told(GIFT, &slots, draw), slots.fill(draw.pick(&GIVING)));
    let (context, name) = story.rsplit_once(' ').expect("a story has several words");
    WorldItem::only(context.to_owned(), name.trim_end_matches('.'))
}
