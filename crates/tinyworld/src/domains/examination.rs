//! Examination papers with letters as answers.

use crate::domains::common::question;
use crate::draw::Draw;
use crate::english::{Slots, indefinite};
use crate::facts::WorldFacts;
use crate::lexicon::people::JOBS;
use crate::lexicon::places::ERRANDS;
use crate::lexicon::things::TOOLS;
use crate::task::WorldItem;

const LETTERS: [&str; 4] = ["A", "B", "C", "D"];

/// A question, its right answer and three wrong ones.
struct Exercise {
    question: String,
    right: String,
    wrong: Vec<String>,
}

impl Exercise {
    fn new(world: &WorldFacts, draw: &mut Draw) -> Self {
        draw.on_side(|draw| Self::any(world, draw), |exercise| exercise.question.clone())
    }

    fn any(world: &WorldFacts, draw: &mut Draw) -> Self {
        let person = draw.pick(&world.people);
        let slots = Slots::new().person(person);
        match draw.below(4) {
            0 => {
                let town = world.town(person);
                let wrong = draw.others(&world.towns, town, 3).into_iter().map(|town| town.name.to_owned());
                Self {
                    question: slots.fill("Where does {name} live?"),
                    right: town.name.to_owned(),
                    wrong: wrong.collect(),
                }
            }
            1 => {
                let wrong =
                    draw.others(&JOBS, person.job, 3).into_iter().map(|job| indefinite(job.name)).collect();
                Self { question: slots.fill("What is {name}?"), right: indefinite(person.job.name), wrong }
            }
            2 => {
                let tool = draw.pick(&TOOLS);
                let wrong =
                    draw.others(&TOOLS, tool, 3).into_iter().map(|tool| tool.name.to_owned()).collect();
                let question = format!("What do you need to {}?", draw.pick(&tool.uses));
                Self { question, right: tool.name.to_owned(), wrong }
            }
            _ => {
                let errand = draw.pick(&ERRANDS);
                let wrong = draw
                    .others(&ERRANDS, errand, 3)
                    .into_iter()
                    .map(|errand| format!("the {}", errand.place));
                let question = format!("Where do you go to {}?", draw.pick(&errand.needs));
                Self { question, right: format!("the {}", errand.place), wrong: wrong.collect() }
            }
        }
    }

    /// Returns the printed exercise up to the letter.
    fn printed(self, place: usize) -> String {
        let mut answers = self.wrong;
        answers.insert(place, self.right);
        let options: Vec<String> =
            LETTERS.iter().zip(answers).map(|(letter, answer)| format!("{letter}. {answer}")).collect();
        let question = question(&self.question);
        let (asked, answer) = question.split_once('\n').expect("a question has a line for its answer");
        format!("{asked}\n{}\n{answer}", options.join("\n"))
    }
}

/// Writes a paper with its solutions.
pub(crate) fn paper(world: &WorldFacts, draw: &mut Draw) -> String {
    let count = draw.between(3, 4);
    let exercises: Vec<String> = (0..count)
        .map(|_| {
            let place = draw.below(LETTERS.len());
            format!("{} {}", Exercise::new(world, draw).printed(place), LETTERS[place])
        })
        .collect();
    exercises.join("\n")
}

/// Writes a question whose answer is a letter.
pub(crate) fn letters(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let exercise = Exercise::new(world, draw);
    let cluster = Some(exercise.question.clone());
    let choices = LETTERS.map(str::to_owned).to_vec();
    WorldItem { context: exercise.printed(place), choices, gold: place, cluster }
}
