//! Passages with new facts, and questions that only the passage answers.

use crate::domains::common::{cast, question};
use crate::draw::Draw;
use crate::english::{Slots, listed};
use crate::facts::{Person, WorldFacts};
use crate::lexicon::places::{ERRANDS, ROOMS};
use crate::lexicon::things::{COLOURS, GOODS, THINGS};
use crate::task::WorldItem;

const PUT: [&str; 5] = ["left", "put", "hid", "dropped", "forgot"];

/// One sentence of a passage: a person left a thing somewhere.
struct Placing {
    person: Person,
    verb: &'static str,
    thing: String,
    room: &'static str,
}

/// Draws different people who leave different things in different rooms.
fn placings(world: &WorldFacts, draw: &mut Draw, count: usize) -> Vec<Placing> {
    let people = cast(world, draw, count);
    let (mut things, mut rooms) = (THINGS.to_vec(), ROOMS.to_vec());
    let place = |person| {
        let (colour, thing, room) = draw.on_side(
            |draw| (draw.pick(&COLOURS), draw.pick(&things), draw.pick(&rooms)),
            |(colour, thing, room)| format!("the {colour} {thing} in the {room}"),
        );
        things.retain(|&other| other != thing);
        rooms.retain(|&other| other != room);
        Placing { person, verb: draw.pick(&PUT), thing: format!("{colour} {thing}"), room }
    };
    people.into_iter().map(place).collect()
}

impl Placing {
    fn slots(&self) -> Slots {
        Slots::new()
            .person(self.person)
            .with("verb", self.verb)
            .with("thing", &self.thing)
            .with("room", self.room)
    }

    fn sentence(&self) -> String {
        self.slots().fill("{name} {verb} the {thing} in the {room}.")
    }

    fn where_is(&self) -> String {
        question(&self.slots().fill("Where is the {thing}?"))
    }

    fn who_did(&self) -> String {
        question(&self.slots().fill("Who {verb} the {thing} in the {room}?"))
    }
}

fn told(placings: &[Placing]) -> String {
    let sentences: Vec<String> = placings.iter().map(Placing::sentence).collect();
    sentences.join(" ")
}

/// Writes a passage and some questions with their answers.
pub(crate) fn placing_lesson(world: &WorldFacts, draw: &mut Draw) -> String {
    let mut placings = placings(world, draw, 4);
    let mut lines = vec![told(&placings)];
    draw.shuffle(&mut placings);
    for placing in &placings {
        lines.push(match draw.below(5) {
            0 | 1 => format!("{} in the {}", placing.where_is(), placing.room),
            2 | 3 => format!("{} {}", placing.who_did(), placing.person.name),
            _ => format!("{} the {}", question(&format!("What is in the {}?", placing.room)), placing.thing),
        });
    }
    lines.join("\n")
}

const TELLING: [&str; 3] = [
    "{name} said to {other}: \"Tell {third} that the {thing} is in the {room}.\" So {other} said to \
     {third}: \"The {thing} is in the {room}.\"",
    "\"The {thing} is in the {room},\" said {name}. \"In the {room}?\" asked {other}. \"Yes, the {thing} is \
     in the {room}.\"",
    "{name} wanted {list}. {other} went to the market and bought {list}. \"Here you have {list},\" said \
     {other} to {name}.",
];

/// Writes messages of people who pass on what they heard.
pub(crate) fn messages(world: &WorldFacts, draw: &mut Draw) -> String {
    let messages: Vec<String> = (0..3)
        .map(|_| {
            let placing = &placings(world, draw, 1)[0];
            let people = draw.others(&world.people, placing.person, 2);
            let goods = listed(&draw.sample(&GOODS, 3));
            let slots = placing.slots().other(people[0]).with("third", people[1].name).with("list", goods);
            slots.fill(draw.pick(&TELLING))
        })
        .collect();
    messages.join("\n")
}

/// Writes a question about the room of a thing.
pub(crate) fn where_is(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let placings = placings(world, draw, 4);
    let asked = &placings[draw.below(placings.len())];
    let context = format!("{}\n{}", told(&placings), asked.where_is());
    let elsewhere = placings.iter().map(|placing| placing.room).filter(|&room| room != asked.room);
    let wrong = elsewhere.map(|room| format!("in the {room}")).collect();
    WorldItem::choice(context, format!("in the {}", asked.room), wrong, place)
}

/// Draws three people who take things somewhere. Returns passage, question, the right room and the other two.
fn carrying(world: &WorldFacts, draw: &mut Draw) -> (String, String, Vec<String>) {
    let mut carried = placings(world, draw, 3);
    let taking = carried.iter().map(|one| format!("{} took the {}.", one.person.name, one.thing));
    let mut sentences: Vec<String> = taking.collect();
    draw.shuffle(&mut carried);
    sentences.extend(carried.iter().map(|one| format!("{} went to the {}.", one.person.name, one.room)));
    let asked = carried.swap_remove(draw.below(carried.len()));
    let question = question(&format!("Where is the {} now?", asked.thing));
    let wrong = carried.iter().map(|other| format!("in the {}", other.room)).collect();
    (format!("{}\n{question}", sentences.join(" ")), format!("in the {}", asked.room), wrong)
}

/// Writes passages in which things move with the people who took them.
pub(crate) fn carrying_lesson(world: &WorldFacts, draw: &mut Draw) -> String {
    let passages: Vec<String> = (0..2)
        .map(|_| {
            let (passage, right, _) = carrying(world, draw);
            format!("{passage} {right}")
        })
        .collect();
    passages.join("\n")
}

/// Writes a question about the room of a thing that a person took along, which needs two sentences.
pub(crate) fn two_hop(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let (passage, right, wrong) = carrying(world, draw);
    WorldItem::choice(passage, right, wrong, place)
}

const ORDERS: [&str; 3] = [
    "First {name} went to the {a}. Then {she} went to the {b}. After that {she} went to the {c}.",
    "{name} went to the {a} in the morning. Later {she} walked to the {b}, and then {she} walked to the {c}.",
    "{name} was at the {a}. From there {she} went to the {b}. In the end {she} came to the {c}.",
];

/// Draws the way of a person through three places. Returns passage, question, the right place and the other
/// two.
fn way(world: &WorldFacts, draw: &mut Draw) -> (String, String, Vec<String>) {
    let (person, places) = draw.on_side(
        |draw| (draw.pick(&world.people), draw.sample(&ERRANDS, 3)),
        |(person, places)| format!("{} comes to the {}", person.name, places[2].place),
    );
    let [a, b, c] = [0, 1, 2].map(|i| places[i].place);
    let slots = Slots::new().person(person).with("a", a).with("b", b).with("c", c);
    let (question_text, right) = draw.pick(&[
        // No question names a place, because it could then be ruled out as the answer.
        ("Where was {name} first?", a),
        ("Where did {name} begin?", a),
        ("Where was {name} second?", b),
        ("Where was {name} in between?", b),
        ("Where was {name} last?", c),
        ("Where did {name} end?", c),
    ]);
    let text = format!("{}\n{}", slots.fill(draw.pick(&ORDERS)), question(&slots.fill(question_text)));
    let wrong = [a, b, c].into_iter().filter(|&place| place != right).map(|place| format!("at the {place}"));
    (text, format!("at the {right}"), wrong.collect())
}

/// Writes ways and questions about them.
pub(crate) fn way_lesson(world: &WorldFacts, draw: &mut Draw) -> String {
    let ways: Vec<String> = (0..3)
        .map(|_| {
            let (text, right, _) = way(world, draw);
            format!("{text} {right}")
        })
        .collect();
    ways.join("\n")
}

/// Writes a question about the first, last or middle place of a way.
pub(crate) fn sequence(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let (text, right, wrong) = way(world, draw);
    WorldItem::choice(text, right, wrong, place)
}
