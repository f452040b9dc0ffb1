//! Common knowledge: the uses of tools, the places of errands, and the sizes of things.

use crate::domains::common::question;
use crate::draw::Draw;
use crate::english::{Slots, indefinite};
use crate::facts::WorldFacts;
use crate::lexicon::places::{ERRANDS, Errand};
use crate::lexicon::things::{BY_SIZE, CLEAR_DIFFERENCE, TOOLS};
use crate::task::WorldItem;

const TOOL_LINES: [&str; 7] = [
    "{name} took {tool} to {use}.",
    "{name} needed {tool} to {use}.",
    "You need {tool} to {use}.",
    "If you want to {use}, take {tool}.",
    "When {name} had to {use}, {she} used {tool}.",
    "You can {use} with {tool}.",
    "{name} learned to {use} with {tool}.",
];

const ERRAND_LINES: [&str; 7] = [
    "{name} went to the {place} to {need}.",
    "If you want to {need}, go to the {place}.",
    "{name} had to {need} and walked to the {place}.",
    "The {place} is where you can {need}.",
    "When {name} wants to {need}, {she} goes to the {place}.",
    "To {need}, {name} went to the {place}.",
    "{name} met {other} on the way to the {place}, where {she} wanted to {need}.",
];

/// Writes a day of errands and work.
pub(crate) fn day(world: &WorldFacts, draw: &mut Draw) -> String {
    let lines = draw.between(6, 10);
    let sentences: Vec<String> = (0..lines)
        .map(|_| {
            let slots = people(world, draw);
            if draw.one_in(2) {
                let tool = draw.pick(&TOOLS);
                let slots = slots.with("tool", tool.name).with("use", draw.pick(&tool.uses));
                slots.fill(draw.pick(&TOOL_LINES))
            } else {
                let errand = draw.pick(&ERRANDS);
                let slots = slots.with("place", errand.place).with("need", draw.pick(&errand.needs));
                slots.fill(draw.pick(&ERRAND_LINES))
            }
        })
        .collect();
    sentences.join(" ")
}

fn people(world: &WorldFacts, draw: &mut Draw) -> Slots {
    let people = draw.sample(&world.people, 2);
    Slots::new().person(people[0]).other(people[1])
}

/// Sentences that don't occur in the training text. Only their last words may.
const TOOL_ITEMS: [&str; 2] =
    ["In the afternoon {name} tried to {use} with", "{name} was about to {use}, so {she} asked {other} for"];

/// Writes a question about the tool for a purpose.
pub(crate) fn tools(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let tool = draw.pick(&TOOLS);
    let wrong = draw.others(&TOOLS, tool, 3).into_iter().map(|tool| tool.name.to_owned()).collect();
    let slots = people(world, draw);
    let purpose = draw.pick(&tool.uses);
    let context = slots.with("use", purpose).fill(draw.pick(&TOOL_ITEMS));
    WorldItem::choice(context, tool.name, wrong, place).about(purpose)
}

/// Sentences that don't occur in the training text. Only their last words may.
const ERRAND_ITEMS: [&str; 2] =
    ["The best place to {need} is", "\"I must {need} today,\" said {name}, and hurried to"];

/// Writes a question about the place for a need.
pub(crate) fn errands(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let errand = draw.pick(&ERRANDS);
    let the = |errand: Errand| format!("the {}", errand.place);
    let wrong = draw.others(&ERRANDS, errand, 3).into_iter().map(the).collect();
    let slots = people(world, draw);
    let need = draw.pick(&errand.needs);
    let context = slots.with("need", need).fill(draw.pick(&ERRAND_ITEMS));
    WorldItem::choice(context, the(errand), wrong, place).about(need)
}

/// A thing with one that is clearly smaller and one that is clearly bigger. Which of the two is `right`
/// (index 0 or 1 of the pair) is drawn too.
struct Comparison {
    thing: &'static str,
    others: [&'static str; 2],
    right: usize,
}

/// Relation between a thing and a smaller one, and between a thing and a bigger one.
const RELATIONS: [&str; 2] = ["bigger", "smaller"];

impl Comparison {
    fn new(draw: &mut Draw) -> Self {
        draw.on_side(Self::any, |drawn| {
            let mut pair = [drawn.thing, drawn.others[drawn.right]];
            pair.sort_unstable();
            pair.join(" and ")
        })
    }

    fn any(draw: &mut Draw) -> Self {
        let thing = CLEAR_DIFFERENCE + draw.below(BY_SIZE.len() - 2 * CLEAR_DIFFERENCE);
        let smaller = draw.pick(&BY_SIZE[..=thing - CLEAR_DIFFERENCE]);
        let bigger = draw.pick(&BY_SIZE[thing + CLEAR_DIFFERENCE..]);
        Self { thing: BY_SIZE[thing], others: [smaller, bigger], right: draw.below(2) }
    }

    fn other(&self) -> &'static str {
        self.others[self.right]
    }

    /// Returns the sentence up to the other thing.
    fn statement(&self, wording: &str) -> String {
        Slots::new().with("thing", self.thing).with("relation", RELATIONS[self.right]).fill(wording)
    }

    /// Returns the question "Which is bigger?" with its answer.
    fn answered(&self, draw: &mut Draw) -> String {
        let mut pair = [self.thing, self.other()].map(indefinite);
        draw.shuffle(&mut pair);
        let asked = draw.below(2);
        let answer = if asked == self.right { self.thing } else { self.other() };
        let question = question(&format!("Which is {}, {}?", RELATIONS[asked], pair.join(" or ")));
        format!("{question} {}", indefinite(answer))
    }
}

const STATEMENT: &str = "{A thing} is {relation} than";

const SIZE_ITEMS: [&str; 2] = [STATEMENT, "It is plain to see that {a thing} is {relation} than"];

/// Writes comparisons of things.
pub(crate) fn size_lesson(_: &WorldFacts, draw: &mut Draw) -> String {
    let lines = draw.between(6, 9);
    let lessons: Vec<String> = (0..lines)
        .map(|_| {
            let comparison = Comparison::new(draw);
            match draw.below(3) {
                0 => comparison.answered(draw),
                _ => format!("{} {}.", comparison.statement(STATEMENT), indefinite(comparison.other())),
            }
        })
        .collect();
    lessons.join("\n")
}

/// Writes a question about the size of a thing.
pub(crate) fn sizes(_: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let comparison = Comparison::new(draw);
    let wrong = comparison.others[1 - comparison.right];
    WorldItem::choice(
        comparison.statement(draw.pick(&SIZE_ITEMS)),
        indefinite(comparison.other()),
        vec![indefinite(wrong)],
        place,
    )
    .about(comparison.thing)
}
