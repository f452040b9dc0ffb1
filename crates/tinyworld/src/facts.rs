//! The facts of a world: its people and towns.

use crate::draw::{Draw, DrawSide};
use crate::lexicon::people::{FOODS, JOBS, MEN, Occupation, PETS, WOMEN};
use crate::lexicon::places::{PRODUCTS, RIVERS, TOWNS};

/// Grammatical gender of a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gender {
    Female,
    Male,
}

impl Gender {
    /// Returns the subject, object and possessive pronouns.
    pub(crate) fn pronouns(self) -> [&'static str; 3] {
        match self {
            Self::Female => ["she", "her", "her"],
            Self::Male => ["he", "him", "his"],
        }
    }
}

/// A person, with the facts that texts repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) gender: Gender,
    /// Index in [`WorldFacts::towns`].
    pub(crate) town: usize,
    pub(crate) job: Occupation,
    pub(crate) pet: &'static str,
    pub(crate) food: &'static str,
}

/// A town, with the facts that texts repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Town {
    pub(crate) name: &'static str,
    pub(crate) river: &'static str,
    pub(crate) product: &'static str,
}

/// Number of people. Every town and every occupation has the same number of them.
pub(crate) const PEOPLE: usize = 48;

/// Number of towns.
pub(crate) const TOWN_COUNT: usize = 8;

/// The people and towns of a world, a pure function of its seed.
#[derive(Clone, Debug)]
pub(crate) struct WorldFacts {
    pub(crate) seed: u64,
    pub(crate) people: Vec<Person>,
    pub(crate) towns: Vec<Town>,
}

impl WorldFacts {
    pub(crate) fn new(seed: u64) -> Self {
        let mut draw = Draw::new(seed, DrawSide::Training, "world", 0);
        Self { seed, people: draw_people(&mut draw), towns: draw_towns(&mut draw) }
    }

    pub(crate) fn town(&self, person: Person) -> Town {
        self.towns[person.town]
    }
}

/// Draws the people. Every town and every occupation has the same number of them, so that no answer is
/// likelier than another.
fn draw_people(draw: &mut Draw) -> Vec<Person> {
    let women = draw.sample(&WOMEN, PEOPLE / 2).into_iter().map(|name| (name, Gender::Female));
    let men = draw.sample(&MEN, PEOPLE / 2).into_iter().map(|name| (name, Gender::Male));
    let mut names: Vec<_> = women.chain(men).collect();
    draw.shuffle(&mut names);
    let mut jobs: Vec<Occupation> = JOBS.into_iter().cycle().take(PEOPLE).collect();
    draw.shuffle(&mut jobs);
    let facts = names.into_iter().zip(jobs).enumerate();
    facts
        .map(|(i, ((name, gender), job))| Person {
            name,
            gender,
            town: i % TOWN_COUNT,
            job,
            pet: draw.pick(&PETS),
            food: draw.pick(&FOODS),
        })
        .collect()
}

fn draw_towns(draw: &mut Draw) -> Vec<Town> {
    let names = draw.sample(&TOWNS, TOWN_COUNT);
    let rivers = draw.sample(&RIVERS, TOWN_COUNT);
    let products = draw.sample(&PRODUCTS, TOWN_COUNT);
    let parts = names.into_iter().zip(rivers).zip(products);
    parts.map(|((name, river), product)| Town { name, river, product }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_equally_common() {
        let world = WorldFacts::new(1);
        for town in 0..TOWN_COUNT {
            assert_eq!(world.people.iter().filter(|person| person.town == town).count(), PEOPLE / TOWN_COUNT);
        }
        for job in JOBS {
            assert_eq!(world.people.iter().filter(|person| person.job == job).count(), PEOPLE / JOBS.len());
        }
    }
}
