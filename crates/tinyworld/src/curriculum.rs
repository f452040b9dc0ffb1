//! The two tables of the curriculum: the kinds of documents with their amounts, and the tasks.

use std::collections::BTreeSet;

use crate::domains::{
    arithmetic, commonsense, comparison, examination, knowledge, language, reading, stories, word_games,
};
use crate::draw::{Draw, DrawSide};
use crate::facts::WorldFacts;
use crate::task::{WorldItem, WorldTask, WorldTaskKind};

/// A kind of document, with its weight among all documents.
struct DocumentWriter {
    share: usize,
    write: fn(&WorldFacts, &mut Draw) -> String,
}

const fn writer(share: usize, write: fn(&WorldFacts, &mut Draw) -> String) -> DocumentWriter {
    DocumentWriter { share, write }
}

const WRITERS: [DocumentWriter; 16] = [
    writer(14, knowledge::lives),
    writer(4, knowledge::town),
    writer(8, knowledge::talk),
    writer(14, stories::stories),
    writer(6, language::scene),
    writer(12, commonsense::day),
    writer(6, commonsense::size_lesson),
    writer(7, reading::placing_lesson),
    writer(3, reading::carrying_lesson),
    writer(4, reading::way_lesson),
    writer(6, reading::messages),
    writer(4, arithmetic::lesson),
    writer(3, comparison::lesson),
    writer(2, examination::paper),
    writer(4, word_games::copying_game),
    writer(3, word_games::glossary_lesson),
];

/// Writes a training document of a random kind.
pub(crate) fn write_document(world: &WorldFacts, draw: &mut Draw) -> String {
    let mut ticket = draw.below(WRITERS.iter().map(|writer| writer.share).sum());
    let drawn = WRITERS.iter().find(|writer| {
        let rest = ticket.checked_sub(writer.share);
        ticket = rest.unwrap_or(ticket);
        rest.is_none()
    });
    (drawn.expect("the ticket is below the sum of the shares").write)(world, draw)
}

/// Number of draws per item to keep. Some worlds contain few different items.
const TRIES: usize = 50;

/// A task without its items.
struct TaskBlueprint {
    name: &'static str,
    domain: &'static str,
    kind: WorldTaskKind,
    /// Number of choices of an item. Guessing is right once in this many times.
    choices: usize,
    items: usize,
    write: fn(&WorldFacts, &mut Draw, usize) -> WorldItem,
    description: &'static str,
}

const fn choice(
    domain: &'static str,
    name: &'static str,
    choices: usize,
    write: fn(&WorldFacts, &mut Draw, usize) -> WorldItem,
    description: &'static str,
) -> TaskBlueprint {
    TaskBlueprint {
        name,
        domain,
        kind: WorldTaskKind::MultipleChoice,
        choices,
        items: 300,
        write,
        description,
    }
}

const BLUEPRINTS: [TaskBlueprint; 18] = [
    choice(
        "language",
        "agreement",
        2,
        language::agreement,
        "Whether \"is\" or \"are\" follows a subject, past another noun.",
    ),
    choice(
        "language",
        "word_order",
        2,
        language::word_order,
        "Which of two sentences of the same words is English.",
    ),
    choice("language", "pronouns", 2, language::pronouns, "Whether \"she\" or \"he\" takes up a name."),
    TaskBlueprint {
        kind: WorldTaskKind::Perplexity,
        items: 200,
        ..choice("language", "stories", 1, stories::unread, "How well unread stories are predicted.")
    },
    choice("commonsense", "tools", 4, commonsense::tools, "Which tool a purpose needs."),
    choice("commonsense", "errands", 4, commonsense::errands, "Which place of the town serves a need."),
    TaskBlueprint {
        items: 240,
        ..choice("commonsense", "sizes", 2, commonsense::sizes, "What a thing is bigger, or smaller, than.")
    },
    TaskBlueprint {
        items: 240,
        ..choice(
            "knowledge",
            "residence",
            4,
            knowledge::residence,
            "In which town somebody lives, in sentences that no text has.",
        )
    },
    TaskBlueprint {
        items: 240,
        ..choice(
            "knowledge",
            "occupation",
            4,
            knowledge::occupation,
            "What somebody's work is, in sentences that no text has.",
        )
    },
    choice(
        "reading",
        "where_is",
        4,
        reading::where_is,
        "Where a thing is, as the passage says in one sentence.",
    ),
    choice(
        "reading",
        "two_hop",
        3,
        reading::two_hop,
        "Where a thing is that somebody took along: two sentences joined.",
    ),
    TaskBlueprint {
        kind: WorldTaskKind::GreedyMatch,
        ..choice(
            "reading",
            "last_word",
            1,
            stories::last_word,
            "The last word of a story: who is given something.",
        )
    },
    choice("reasoning", "sequence", 3, reading::sequence, "Where somebody was first, last or in between."),
    choice("reasoning", "addition", 4, arithmetic::addition, "How many there are after some were added."),
    choice(
        "reasoning",
        "transitivity",
        2,
        comparison::transitivity,
        "Who is taller, when only a chain of comparisons tells.",
    ),
    choice("examination", "exam", 4, examination::letters, "The letter, A to D, of the right answer."),
    choice(
        "in-context",
        "copying",
        4,
        word_games::copying,
        "The next word of a list of invented words, said a second time.",
    ),
    choice(
        "in-context",
        "translation",
        4,
        word_games::translation,
        "What an invented word means that was just explained.",
    ),
];

/// Writes the tasks of a world with their items.
pub(crate) fn write_tasks(world: &WorldFacts) -> Vec<WorldTask> {
    BLUEPRINTS.iter().map(|blueprint| blueprint.write_task(world)).collect()
}

impl TaskBlueprint {
    fn write_task(&self, world: &WorldFacts) -> WorldTask {
        WorldTask {
            name: self.name,
            domain: self.domain,
            kind: self.kind,
            shots: 0,
            chance: (self.kind == WorldTaskKind::MultipleChoice).then(|| 1.0 / self.choices as f64),
            description: self.description,
            items: self.write_items(world),
        }
    }

    /// Writes distinct items. In every prefix of the list, the right answers are evenly distributed over the
    /// choices.
    fn write_items(&self, world: &WorldFacts) -> Vec<WorldItem> {
        let mut draw = Draw::new(world.seed, DrawSide::Probe, self.name, 0);
        let mut seen = BTreeSet::new();
        let mut items = Vec::with_capacity(self.items);
        for _ in 0..self.items * TRIES {
            if items.len() == self.items {
                break;
            }
            let item = (self.write)(world, &mut draw, items.len() % self.choices);
            if seen.insert(item.answered()) {
                items.push(item);
            }
        }
        items
    }
}
