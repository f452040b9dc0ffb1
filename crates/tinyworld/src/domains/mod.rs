//! What is written about the world, and what is asked about it: one module per domain.
//!
//! A writer of documents takes the world and a [`Draw`] and returns a text; a writer of items also takes
//! the place that the right answer shall have among the choices.
//!
//! [`Draw`]: crate::draw::Draw

pub(crate) mod arithmetic;
pub(crate) mod commonsense;
pub(crate) mod comparison;
pub(crate) mod examination;
pub(crate) mod knowledge;
pub(crate) mod language;
pub(crate) mod reading;
pub(crate) mod stories;
pub(crate) mod word_games;

use crate::draw::Draw;
use crate::world::{Person, World};

/// A question in the form in which texts and items put it.
fn question(question: &str) -> String {
    format!("Question: {question}\nAnswer:")
}

/// `count` people who are together in texts of this writer's side only.
fn cast(world: &World, draw: &mut Draw, count: usize) -> Vec<Person> {
    draw.on_side(
        |draw| draw.sample(&world.people, count),
        |cast| {
            let mut names: Vec<&str> = cast.iter().map(|person| person.name).collect();
            names.sort_unstable();
            names.join(" ")
        },
    )
}
