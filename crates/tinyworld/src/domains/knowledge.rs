//! Facts: encyclopedia entries about the homes and occupations of people, and questions in words that no
//! entry uses.

use crate::draw::Draw;
use crate::english::{Slots, indefinite, listed};
use crate::facts::{Person, WorldFacts};
use crate::lexicon::people::JOBS;
use crate::task::WorldItem;

const OPENING: [&str; 6] = [
    "{name} is {a job} from {town}.",
    "{name} is {a job} who lives in {town}.",
    "{name}, {a job}, lives in {town}.",
    "{name} lives in {town} and works as {a job}.",
    "{name} comes from the town of {town}, where {she} is {a job}.",
    "In {town} everybody knows {name}, the {job}.",
];

const HOME: [&str; 12] = [
    "{Her} house has a small garden.",
    "The home of {name} stands near the river {river}.",
    "{She} has lived there for a long time.",
    "Everybody in the town likes {him}.",
    "{name} was born in {town}.",
    "{name} has many friends in {town}.",
    "{name} never wants to leave {town}.",
    "Letters reach {name} in {town}.",
    "After work {name} walks through the streets of {town}.",
    "Visitors find the house of {name} in {town}.",
    "On holidays {name} stays at home in {town}.",
    "The sister of {name} also lives in {town}.",
];

const WORK: [&str; 11] = [
    "Every day {she} {does}.",
    "{She} works {workplace}, where {she} {does}.",
    "{She} has done this work for many years.",
    "{name} {does} and does it well.",
    "On most days {she} {does}.",
    "{name} is known as {a job}.",
    "Since last year {name} has been {a job}.",
    "The town is glad to have {name} as {a job}.",
    "{name} is proud to be {a job}.",
    "Even as a child {name} wanted to be {a job}.",
    "The brother of {name} is also {a job}.",
];

const PET: [&str; 4] = [
    "{name} has {a pet}.",
    "{She} has {a pet}.",
    "{Her} best friend is {a pet}.",
    "{She} often goes out with {her} {pet}.",
];

const FOOD: [&str; 4] = [
    "{name} likes {food} best.",
    "{Her} favourite food is {food}.",
    "{She} eats {food} on Sundays.",
    "If you visit {him}, {she} will give you {food}.",
];

/// Statements about a person in the entry of their town.
const RESIDENT: [&str; 5] = [
    "{name} is {a job}.",
    "{name} works as {a job}.",
    "{name} works {workplace} and {does}.",
    "{name} is {a job} and has {a pet}.",
    "{name} likes to work as {a job}.",
];

const TALK: [&str; 4] = [
    "\"Who is {name}?\" asked {other}. \"{She} is {a job} from {town}.\"",
    "\"Where does {name} live?\" asked {other}. \"In {town}. {She} is {a job} there.\"",
    "\"Do you know {name}?\" asked {other}. \"Yes, {she} is {a job} and lives in {town}.\"",
    "\"What does {name} do?\" asked {other}. \"{She} is {a job}. {She} works {workplace} in {town}.\"",
];

fn slots(world: &WorldFacts, person: Person) -> Slots {
    let town = world.town(person);
    Slots::new()
        .person(person)
        .with("town", town.name)
        .with("river", town.river)
        .with("job", person.job.name)
        .with("does", person.job.does)
        .with("workplace", person.job.place)
        .with("pet", person.pet)
        .with("food", person.food)
}

/// Writes the encyclopedia entries of two or three people.
pub(crate) fn lives(world: &WorldFacts, draw: &mut Draw) -> String {
    let people = draw.between(2, 3) as usize;
    let entries: Vec<String> =
        draw.sample(&world.people, people).into_iter().map(|person| life(world, draw, person)).collect();
    entries.join("\n")
}

fn life(world: &WorldFacts, draw: &mut Draw, person: Person) -> String {
    let slots = slots(world, person);
    let mut lines = vec![draw.pick(&HOME), draw.pick(&WORK), draw.pick(&PET), draw.pick(&FOOD)];
    draw.shuffle(&mut lines);
    lines.insert(0, draw.pick(&OPENING));
    slots.fill(&lines.join(" "))
}

/// Writes the encyclopedia entry of a town and of the people who live there.
pub(crate) fn town(world: &WorldFacts, draw: &mut Draw) -> String {
    let index = draw.below(world.towns.len());
    let town = world.towns[index];
    let residents: Vec<Person> = world.people.iter().copied().filter(|person| person.town == index).collect();
    let residents = draw.sample(&residents, 4);
    let names: Vec<&str> = residents.iter().map(|person| person.name).collect();
    let mut text = Slots::new()
        .with("town", town.name)
        .with("river", town.river)
        .with("product", town.product)
        .with("names", listed(&names))
        .fill(
            "{town} is a small town on the river {river}. It is known for its {product}. {names} live in \
               {town}.",
        );
    for person in residents {
        text.push(' ');
        text.push_str(&slots(world, person).fill(draw.pick(&RESIDENT)));
    }
    text
}

/// Writes a conversation of people who ask each other about others.
pub(crate) fn talk(world: &WorldFacts, draw: &mut Draw) -> String {
    let about = draw.between(3, 5) as usize;
    let people = draw.sample(&world.people, 2 * about);
    let (about, asking) = people.split_at(about);
    let lines: Vec<String> = about
        .iter()
        .zip(asking)
        .map(|(&person, &other)| slots(world, person).other(other).fill(draw.pick(&TALK)))
        .collect();
    lines.join("\n")
}

/// Sentences that don't occur in the training text. Only their last words may.
const RESIDENCE: [&str; 5] = [
    "A letter for {name} has to be sent to",
    "To meet {name} at home, you must travel to",
    "After a long journey, {name} came home to",
    "Nobody has ever asked why {name} lives in",
    "The children of {name} go to school in",
];

/// Writes a question about the town of a person.
pub(crate) fn residence(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let person = draw.pick(&world.people);
    let home = world.town(person);
    let wrong = draw.others(&world.towns, home, 3).into_iter().map(|town| town.name.to_owned()).collect();
    let context = slots(world, person).fill(draw.pick(&RESIDENCE));
    WorldItem::choice(context, home.name, wrong, place).about(person.name)
}

/// Sentences that don't occur in the training text. Only their last words may.
const OCCUPATION: [&str; 5] = [
    "Ask anybody what {name} does, and you will hear that {she} is",
    "{name} earns {her} money as",
    "When {name} was young, {she} learned to be",
    "It is no secret that {name} works as",
    "From early till late {name} is busy as",
];

/// Writes a question about the occupation of a person.
pub(crate) fn occupation(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let person = draw.pick(&world.people);
    let wrong = draw.others(&JOBS, person.job, 3).into_iter().map(|job| indefinite(job.name)).collect();
    let context = slots(world, person).fill(draw.pick(&OCCUPATION));
    WorldItem::choice(context, indefinite(person.job.name), wrong, place).about(person.name)
}
