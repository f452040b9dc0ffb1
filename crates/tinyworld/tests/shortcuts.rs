//! Rules based on surface features must not be better than guessing.

use std::collections::BTreeMap;

use fineline_tinyworld::{World, WorldConfig, WorldItem, WorldTaskKind};

/// Word counts of training text.
struct Unigrams {
    counts: BTreeMap<String, f64>,
    total: f64,
}

impl Unigrams {
    fn of(world: &World, documents: u64) -> Self {
        let mut counts = BTreeMap::new();
        for index in 0..documents {
            for word in words(&world.document(index)) {
                *counts.entry(word).or_insert(0.0) += 1.0;
            }
        }
        let total = counts.values().sum();
        Self { counts, total }
    }

    fn logprob(&self, text: &str) -> f64 {
        let logprob = |word: String| (self.counts.get(&word).copied().unwrap_or(0.5) / self.total).ln();
        words(text).map(logprob).sum()
    }
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

/// A rule scores a choice in its context. Its answer is the choice with the highest score.
type Rule<'a> = (&'a str, Box<dyn Fn(&WorldItem, &str) -> f64 + 'a>);

fn rules(unigrams: &Unigrams) -> Vec<Rule<'_>> {
    let place = |found: Option<usize>| found.map_or(-1.0, |place| place as f64);
    vec![
        ("longest", Box::new(|_, choice| choice.len() as f64)),
        ("shortest", Box::new(|_, choice| -(choice.len() as f64))),
        ("most words", Box::new(|_, choice| words(choice).count() as f64)),
        ("likeliest words", Box::new(|_, choice| unigrams.logprob(choice))),
        (
            "likeliest mean word",
            Box::new(|_, choice| unigrams.logprob(choice) / words(choice).count() as f64),
        ),
        ("first mentioned", Box::new(move |item, choice| -place(item.context.find(choice)))),
        ("last mentioned", Box::new(move |item, choice| place(item.context.rfind(choice)))),
        ("most mentioned", Box::new(|item, choice| item.context.matches(choice).count() as f64)),
    ]
}

/// Ties are shared, so that a rule without preference scores like guessing.
fn accuracy(items: &[WorldItem], rule: &dyn Fn(&WorldItem, &str) -> f64) -> f64 {
    let credit = |item: &WorldItem| {
        let scores: Vec<f64> = item.choices.iter().map(|choice| rule(item, choice)).collect();
        let best = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let winners = scores.iter().filter(|&&score| score >= best).count();
        if scores[item.gold] >= best { 1.0 / winners as f64 } else { 0.0 }
    };
    items.iter().map(credit).sum::<f64>() / items.len() as f64
}

#[test]
fn no_surface_rule_beats_chance() {
    for seed in 1..4 {
        let world = World::new(&WorldConfig { seed, ..WorldConfig::default() });
        let unigrams = Unigrams::of(&world, 1500);
        for task in world.tasks().into_iter().filter(|task| task.kind == WorldTaskKind::MultipleChoice) {
            let chance = task.chance.expect("multiple choice has a chance");
            let deviation = (chance * (1.0 - chance) / task.items.len() as f64).sqrt();
            for (name, rule) in rules(&unigrams) {
                let accuracy = accuracy(&task.items, &rule);
                assert!(
                    accuracy < chance + 3.5 * deviation,
                    "seed {seed}: \"{name}\" scores {accuracy:.3} on {}, chance is {chance:.3}",
                    task.name
                );
            }
        }
    }
}
