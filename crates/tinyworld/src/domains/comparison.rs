//! Orders among people that must be inferred in several steps.

use crate::domains::common::{cast, question};
use crate::draw::Draw;
use crate::facts::{Person, WorldFacts};
use crate::task::WorldItem;

/// A comparative and its opposite.
const RELATIONS: [[&str; 2]; 4] =
    [["taller", "shorter"], ["older", "younger"], ["faster", "slower"], ["stronger", "weaker"]];

/// People in order, and statements about adjacent ones, in any sequence and direction.
struct Ranking {
    relation: [&'static str; 2],
    /// In descending order.
    people: Vec<Person>,
    statements: String,
}

impl Ranking {
    fn new(world: &WorldFacts, draw: &mut Draw, count: usize) -> Self {
        let people = cast(world, draw, count);
        let relation = draw.pick(&RELATIONS);
        let mut statements: Vec<String> = people
            .windows(2)
            .map(|pair| {
                let [more, less] = [pair[0].name, pair[1].name];
                let [up, down] = relation;
                if draw.one_in(2) {
                    format!("{more} is {up} than {less}.")
                } else {
                    format!("{less} is {down} than {more}.")
                }
            })
            .collect();
        draw.shuffle(&mut statements);
        Self { relation, people, statements: statements.join(" ") }
    }

    /// Returns a question about two positions of the order, with its right and its wrong answer.
    fn compare(&self, draw: &mut Draw, upper: usize, lower: usize) -> (String, &'static str, &'static str) {
        let [more, less] = [self.people[upper].name, self.people[lower].name];
        let [up, down] = self.relation;
        let (relation, right, wrong) = if draw.one_in(2) { (up, more, less) } else { (down, less, more) };
        let (first, second) = if draw.one_in(2) { (right, wrong) } else { (wrong, right) };
        (question(&format!("Who is {relation}, {first} or {second}?")), right, wrong)
    }
}

/// Writes rankings and questions about any two of the people.
pub(crate) fn lesson(world: &WorldFacts, draw: &mut Draw) -> String {
    let mut lines = Vec::new();
    for _ in 0..2 {
        let count = draw.between(2, 5) as usize;
        let ranking = Ranking::new(world, draw, count);
        lines.push(ranking.statements.clone());
        for _ in 0..2 {
            let upper = draw.below(count - 1);
            let lower = upper + 1 + draw.below(count - 1 - upper);
            let (question, right, _) = ranking.compare(draw, upper, lower);
            lines.push(format!("{question} {right}"));
        }
    }
    lines.join("\n")
}

/// Writes a question about the second and the fourth of five people.
///
/// Each of them is mentioned twice, once as more and once as less than a neighbour, so that the answer needs
/// the whole chain.
pub(crate) fn transitivity(world: &WorldFacts, draw: &mut Draw, place: usize) -> WorldItem {
    let ranking = Ranking::new(world, draw, 5);
    let (question, right, wrong) = ranking.compare(draw, 1, 3);
    WorldItem::choice(format!("{}\n{question}", ranking.statements), right, vec![wrong.to_owned()], place)
}
