//! Names, and the attributes of people.

pub(crate) const WOMEN: [&str; 40] = [
    "Ada", "Alma", "Anna", "Bella", "Clara", "Cora", "Dina", "Edith", "Ella", "Elsa", "Emma", "Erin",
    "Freya", "Gwen", "Hanna", "Hilda", "Ida", "Inga", "Jane", "Jenny", "Julia", "Kate", "Lena", "Linda",
    "Lucy", "Mara", "Maria", "Mina", "Molly", "Nell", "Nina", "Nora", "Olga", "Paula", "Rita", "Ruth",
    "Sally", "Sara", "Susan", "Vera",
];

pub(crate) const MEN: [&str; 40] = [
    "Adam", "Alec", "Anton", "Ben", "Boris", "Bruno", "Carl", "David", "Edgar", "Emil", "Eric", "Felix",
    "Fred", "Hans", "Harry", "Henry", "Hugo", "Igor", "Isaac", "Ivan", "Jack", "Jacob", "James", "Jonas",
    "Kurt", "Leo", "Lucas", "Max", "Niels", "Oscar", "Otto", "Paul", "Peter", "Ralph", "Robert", "Sam",
    "Simon", "Theo", "Walter", "Albert",
];

/// An occupation: its name, activity and place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Occupation {
    pub(crate) name: &'static str,
    /// Phrase after "she".
    pub(crate) does: &'static str,
    /// Phrase after "works".
    pub(crate) place: &'static str,
}

const fn job(name: &'static str, does: &'static str, place: &'static str) -> Occupation {
    Occupation { name, does, place }
}

pub(crate) const JOBS: [Occupation; 16] = [
    job("baker", "bakes bread", "at the bakery"),
    job("farmer", "grows corn", "on the farm"),
    job("teacher", "teaches children", "at the school"),
    job("doctor", "helps sick people", "at the hospital"),
    job("miller", "grinds corn", "at the mill"),
    job("smith", "makes horseshoes", "at the forge"),
    job("tailor", "sews coats", "in a small shop"),
    job("fisher", "catches fish", "on the lake"),
    job("gardener", "grows flowers", "in the park"),
    job("painter", "paints pictures", "in a bright room"),
    job("cook", "makes soup", "at the inn"),
    job("shepherd", "keeps sheep", "on the hills"),
    job("carpenter", "builds tables", "in a workshop"),
    job("potter", "makes bowls", "in a shed"),
    job("hunter", "hunts rabbits", "in the forest"),
    job("singer", "sings songs", "at the theatre"),
];

pub(crate) const PETS: [&str; 8] = [
    "grey cat",
    "black cat",
    "white dog",
    "brown dog",
    "small owl",
    "green parrot",
    "old goat",
    "young donkey",
];

pub(crate) const FOODS: [&str; 10] = [
    "plum cake",
    "bean soup",
    "white cheese",
    "fried fish",
    "apple pie",
    "sweet corn",
    "dark bread",
    "rice with milk",
    "roast duck",
    "carrot salad",
];
