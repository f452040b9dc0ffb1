//! Sums: small ones as stories and in digits, larger ones in digits.

use crate::domains::common::question;
use crate::draw::Draw;
use crate::english::{Slots, counted};
use crate::facts::WorldFacts;
use crate::lexicon::things::COUNTED;
use crate::task::WorldItem;

/// A noun and its plural.
type Noun = (&'static str, &'static str);

/// Draws two small numbers of things, which belong to one side together: every sum occurs in the text, but
/// not with these things.
fn things(draw: &mut Draw) -> (u32, u32, Noun) {
    draw.on_side(
        |draw| (draw.between(SMALL.0, SMALL.1), draw.between(SMALL.0, SMALL.1), draw.pick(&COUNTED)),
        things_key,
    )
}

fn things_key(&(a, b, noun): &(u32, u32, Noun)) -> String {
    format!("{} + {} {}", a.min(b), a.max(b), noun.1)
}

/// Range of the operands of sums that are told as stories.
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

/// Writes a story that ends before the number.
fn story(world: &WorldFacts, draw: &mut Draw, lines: &[&str], first: u32, second: u32, noun: Noun) -> String {
    let people = draw.sample(&world.people, 2);
    let slots = Slots::new().person(people[0]).other(people[1]);
    let slots = slots.with("first", counted(first, noun)).with("second", second.to_string());
    slots.fill(draw.pick(lines))
}

/// Writes sums and differences, as stories and in digits.
pub(crate) fn lesson(world: &WorldFacts, draw: &mut Draw) -> String {
    let lines = draw.between(5, 8);
    let sums: Vec<String> = (0..lines)
        .map(|_| {
            let (a, b, noun) = things(draw);
            match draw.below(8) {
                0..3 => format!("{} {}.", story(world, draw, &GAINS, a, b, noun), counted(a + b, noun)),
                3 => format!("{} {}.", story(world, draw, &LOSSES, a + b, b, noun), counted(a, noun)),
                4..7 => bare(draw, SMALL),
                _ => bare(draw, LARGE),
            }
        })
        .collect();
    sums.join("\n")
}

/// Writes a sum in digits.
fn bare(draw: &mut Draw, (low, high): (u32, u32)) -> String {
    let (a, b) = (draw.between(low, high), draw.between(low, high));
    format!("{} {}", question(&format!("What is {a} plus {b}?")), a + b)
}

/// Smallest sum of the questions, and number of blocks of four consecutive sums from there.
const SUMS: (u32, usize) = (4, 6);

/// Writes a question about the number of things after some were added.
///
/// The choices are a block of four consecutive numbers, the same block for each of them as the right answer,
/// so that a preference for some numbers gives no advantage.
pub(crate) fn addition(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let (a, b, noun) = draw.on_side(
        |draw| {
            let sum = SUMS.0 + 4 * draw.below(SUMS.1) as u32 + place as u32;
            let a = draw.between(SMALL.0.max(sum.saturating_sub(SMALL.1)), SMALL.1.min(sum - SMALL.0));
            (a, sum - a, draw.pick(&COUNTED))
        },
        things_key,
    );
    let context = story(world, draw, &GAINS, a, b, noun);
    let lowest = a + b - place as u32;
    let choices = (lowest..lowest + 4).map(|number| counted(number, noun)).collect();
    WorldItem { context, choices, gold: place, cluster: Some(format!("{} + {}", a.min(b), a.max(b))) }
}
