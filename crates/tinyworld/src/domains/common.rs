//! Parts that several domains share.

use crate::draw::Draw;
use crate::facts::{Person, WorldFacts};

/// Returns a question in the form of texts and items.
pub(super) fn question(question: &str) -> String {
    format!("Question: {question}\nAnswer:")
}

/// Draws `count` people who appear together only in texts of this writer's side.
pub(super) fn cast(world: &WorldFacts, draw: &mut Draw, count: usize) -> Vec<Person> {
    draw.on_side(
        |draw| draw.sample(&world.people, count),
        |cast| {
            let mut names: Vec<&str> = cast.iter().map(|person| person.name).collect();
            names.sort_unstable();
            names.join(" ")
        },
    )
}
