use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::curriculum;
use crate::draw::{Draw, Side};
use crate::holdout::Holdout;
use crate::lexicon::people::{FOODS, JOBS, Job, MEN, PETS, WOMEN};
use crate::lexicon::places::{PRODUCTS, RIVERS, TOWNS};
use crate::task::Task;

/// The `[tinyworld]` section: which world, and how much is written about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct WorldConfig {
    /// Which world: its people, where they live, what they do, and every text and question about them.
    pub seed: u64,
    /// How many documents of training text there are. One has about 75 words.
    pub documents: u64,
}

impl Default for WorldConfig {
    fn default() -> Self {
        Self { seed: 1, documents: 20_000 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gender {
    Female,
    Male,
}

impl Gender {
    /// Subject, object and possessive.
    pub(crate) fn pronouns(self) -> [&'static str; 3] {
        match self {
            Self::Female => ["she", "her", "her"],
            Self::Male => ["he", "him", "his"],
        }
    }
}

/// Somebody, and the facts about them that texts repeat.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Person {
    pub(crate) name: &'static str,
    pub(crate) gender: Gender,
    /// Place in [`World::towns`].
    pub(crate) town: usize,
    pub(crate) job: Job,
    pub(crate) pet: &'static str,
    pub(crate) food: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Town {
    pub(crate) name: &'static str,
    pub(crate) river: &'static str,
    pub(crate) product: &'static str,
}

/// An invented world: its facts, text about it, and questions about it that the text does not contain.
///
/// Everything is a pure function of the seed.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) seed: u64,
    pub(crate) people: Vec<Person>,
    pub(crate) towns: Vec<Town>,
    tasks: Vec<Task>,
    holdout: Holdout,
}

const PEOPLE: usize = 48;
const TOWN_COUNT: usize = 8;

impl World {
    /// The world that `config` names.
    #[must_use]
    pub fn new(config: &WorldConfig) -> Self {
        let mut draw = Draw::new(config.seed, Side::Training, "world", 0);
        let mut world = Self {
            seed: config.seed,
            people: people(&mut draw),
            towns: towns(&mut draw),
            tasks: Vec::new(),
            holdout: Holdout::default(),
        };
        world.tasks = curriculum::tasks(&world);
        world.holdout = Holdout::new(world.tasks.iter().flat_map(|task| &task.items));
        world
    }

    /// The training document at `index`, whatever the number of documents: any order, any size.
    #[must_use]
    pub fn document(&self, index: u64) -> String {
        let mut draw = Draw::new(self.seed, Side::Training, "document", index);
        loop {
            let document = curriculum::document(self, &mut draw);
            if self.holdout.find(&document).is_none() {
                return document;
            }
        }
    }

    /// The probe tasks; they depend on the seed only.
    #[must_use]
    pub fn tasks(&self) -> Vec<Task> {
        self.tasks.clone()
    }

    pub(crate) fn town(&self, person: Person) -> Town {
        self.towns[person.town]
    }
}

/// Every town and every job has the same number of people, so that no answer is likelier than another.
fn people(draw: &mut Draw) -> Vec<Person> {
    let women = draw.sample(&WOMEN, PEOPLE / 2).into_iter().map(|name| (name, Gender::Female));
    let men = draw.sample(&MEN, PEOPLE / 2).into_iter().map(|name| (name, Gender::Male));
    let mut names: Vec<_> = women.chain(men).collect();
    draw.shuffle(&mut names);
    let mut jobs: Vec<Job> = JOBS.into_iter().cycle().take(PEOPLE).collect();
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

fn towns(draw: &mut Draw) -> Vec<Town> {
    let names = draw.sample(&TOWNS, TOWN_COUNT);
    let rivers = draw.sample(&RIVERS, TOWN_COUNT);
    let products = draw.sample(&PRODUCTS, TOWN_COUNT);
    let parts = names.into_iter().zip(rivers).zip(products);
    parts.map(|((name, river), product)| Town { name, river, product }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The check on documents must be a safety net and not the way in which items are held out: what it turns away often
    /// would be missing from the text.
    #[test]
    fn few_documents_are_drawn_again() {
        let world = World::new(&WorldConfig::default());
        let refused: Vec<String> = (0..2000)
            .filter_map(|index| {
                let mut draw = Draw::new(world.seed, Side::Training, "document", index);
                world.holdout.find(&curriculum::document(&world, &mut draw))
            })
            .collect();
        assert!(refused.len() < 60, "{} of 2000 documents were refused: {refused:#?}", refused.len());
    }

    #[test]
    fn answers_are_equally_common() {
        let world = World::new(&WorldConfig::default());
        for town in 0..TOWN_COUNT {
            assert_eq!(world.people.iter().filter(|person| person.town == town).count(), PEOPLE / TOWN_COUNT);
        }
        for job in JOBS {
            assert_eq!(world.people.iter().filter(|person| person.job == job).count(), PEOPLE / JOBS.len());
        }
    }
}
