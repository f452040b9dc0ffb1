//! Sums: small ones told as stories, larger ones bare.

use super::question;
use crate::draw::Draw;
use crate::english::{Slots, counted};
use crate::lexicon::things::COUNTED;
use crate::task::Item;
use crate::world::World;

/// Two numbers from `low` to `high` whose sum belongs to one side, in whichever order.
fn operands(draw: &mut Draw, low: u32, high: u32) -> (u32, u32) {
    draw.on_side(
        |draw| (draw.between(low, high), draw.between(low, high)),
        |&(a, b)| format!("{} + {}", a.min(b), a.max(b)),
    )
}

/// The least operand is 2, so that three wrong answers fit below every sum.
const SMALL: (u32, u32) = (2, 15);
const LARGE: (u32, u32) = (13, 78);

const GAINS: [&str; 3] = [
    "{name} had {first}. {other} gave {him} {second} more. Now {name} has",
    "{name} found {first} in the morning and {second} in the evening. In all {she} found",
    "There were {first} in the basket. {name} put in {second} more. Now the basket holds",
];

const LOSSES: [&str; 2] = [
    "{name} had {first}. {She} gave {second} to {other}. Now {name} has",
    "There were {first} on the table. {name} took {second} away. Now the table holds",
];

/// A story that ends before the number, and the number with its noun for any result.
struct Story {
    text: String,
    noun: (&'static str, &'static str),
}

fn story(world: &World, draw: &mut Draw, lines: &[&str], first: u32, second: u32) -> Story {
    let noun = draw.pick(&COUNTED);
    let people = draw.sample(&world.people, 2);
    let slots = Slots::new().person(people[0]).other(people[1]);
    let slots = slots.with("first", counted(first, noun)).with("second", second.to_string());
    Story { text: slots.fill(draw.pick(lines)), noun }
}

/// Sums and differences, as stories and bare.
pub(crate) fn lesson(world: &World, draw: &mut Draw) -> String {
    let lines = draw.between(5, 8);
    let sums: Vec<String> = (0..lines)
        .map(|_| {
            let (a, b) = operands(draw, SMALL.0, SMALL.1);
            match draw.below(8) {
                0..3 => {
                    let story = story(world, draw, &GAINS, a, b);
                    format!("{} {}.", story.text, counted(a + b, story.noun))
                }
                3 => {
                    let story = story(world, draw, &LOSSES, a + b, b);
                    format!("{} {}.", story.text, counted(a, story.noun))
                }
                4..7 => sum(a, b, a + b),
                _ => {
                    let (a, b) = operands(draw, LARGE.0, LARGE.1);
                    sum(a, b, a + b)
                }
            }
        })
        .collect();
    sums.join("\n")
}

fn sum(a: u32, b: u32, result: u32) -> String {
    format!("{} {result}", ask(a, b))
}

fn ask(a: u32, b: u32) -> String {
    question(&format!("What is {a} plus {b}?"))
}

/// How many there are after some were added; the choices are neighbours.
pub(crate) fn addition(world: &World, draw: &mut Draw, place: usize) -> Item {
    let (a, b) = operands(draw, SMALL.0, SMALL.1);
    let story = story(world, draw, &GAINS, a, b);
    let lowest = a + b - place as u32;
    let choices = (lowest..lowest + 4).map(|number| counted(number, story.noun)).collect();
    Item { context: story.text, choices, gold: place }
}
