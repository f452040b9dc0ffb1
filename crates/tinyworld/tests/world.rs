//! Properties of the text and the tasks of a world.

use std::collections::{BTreeMap, BTreeSet};

use fineline_tinyworld::{Holdout, World, WorldConfig, WorldItem, WorldTaskKind};

fn world(seed: u64) -> World {
    World::new(&WorldConfig { seed, ..WorldConfig::default() })
}

#[test]
fn documents_do_not_depend_on_order_or_number() {
    let many = world(1);
    let forwards: Vec<String> = (0..50).map(|i| many.document(i)).collect();
    let few = World::new(&WorldConfig { seed: 1, documents: 3 });
    let backwards: Vec<String> = (0..50).rev().map(|i| few.document(i)).collect();
    assert!(forwards.iter().eq(backwards.iter().rev()));
    assert!(!many.document(u64::MAX).is_empty());
}

#[test]
fn another_seed_is_another_world() {
    let [one, two] = [1, 2].map(world);
    assert!((0..50).all(|i| one.document(i) != two.document(i)));
    for (a, b) in one.tasks().iter().zip(two.tasks()) {
        assert_ne!(a.items, b.items, "{}", a.name);
    }
}

#[test]
fn tasks_cover_the_domains_with_enough_items() {
    for seed in 1..4 {
        let tasks = world(seed).tasks();
        let domains: BTreeSet<&str> = tasks.iter().map(|task| task.domain).collect();
        let expected =
            ["commonsense", "examination", "in-context", "knowledge", "language", "reading", "reasoning"];
        assert!(domains.into_iter().eq(expected));
        let names: BTreeSet<&str> = tasks.iter().map(|task| task.name).collect();
        assert_eq!(names.len(), tasks.len(), "names are unique");
        for task in &tasks {
            assert!(task.items.len() >= 200, "{} has {} items with seed {seed}", task.name, task.items.len());
        }
    }
}

#[test]
fn items_are_well_formed() {
    for task in world(1).tasks() {
        for item in &task.items {
            assert_eq!(item.context.trim_end(), item.context, "{}: a space before the choices", task.name);
            assert!(item.gold < item.choices.len());
            let distinct: BTreeSet<&String> = item.choices.iter().collect();
            assert_eq!(distinct.len(), item.choices.len(), "{}: {item:?}", task.name);
            assert!(item.choices.iter().all(|choice| !choice.is_empty() && choice.trim() == choice));
            match (task.kind, task.chance) {
                (WorldTaskKind::MultipleChoice, Some(chance)) => {
                    assert!((chance * item.choices.len() as f64 - 1.0).abs() < 1e-12, "{}", task.name);
                }
                (_, chance) => assert!(chance.is_none() && item.choices.len() == 1, "{}", task.name),
            }
        }
    }
}

#[test]
fn correct_answers_are_balanced_over_positions_in_every_prefix() {
    for task in world(1).tasks() {
        for part in [20, 100, task.items.len()] {
            let mut places = BTreeMap::<usize, usize>::new();
            task.items[..part].iter().for_each(|item| *places.entry(item.gold).or_default() += 1);
            let (least, most) = (places.values().min(), places.values().max());
            assert!(most.unwrap() - least.unwrap() <= 1, "{}: {places:?}", task.name);
        }
    }
}

#[test]
fn documents_contain_no_item() {
    let world = world(1);
    let tasks = world.tasks();
    let holdout = Holdout::new(tasks.iter().flat_map(|task| &task.items));
    for index in 0..3000 {
        assert_eq!(holdout.find(&world.document(index)), None, "in document {index}");
    }
    for task in &tasks {
        for item in task.items.iter().take(20) {
            let leak = format!("{} {} {}", world.document(0), item.answered(), world.document(1));
            assert!(holdout.find(&leak).is_some(), "a leak of {item:?} goes unseen");
        }
    }
}

#[test]
fn documents_read_as_english() {
    let world = world(1);
    let mut words = BTreeSet::new();
    let mut total = 0;
    for index in 0..2000 {
        let text = world.document(index);
        for flaw in ["{", "}", "  ", " .", " ,", "..", " \n", "\n\n", " a a", " a e", " a i", " a o", " a u"]
        {
            assert!(!text.contains(flaw), "{flaw:?} in {text}");
        }
        assert!(text.trim() == text && text.len() > 40, "{text:?}");
        let document: Vec<&str> =
            text.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
        assert!((15..=250).contains(&document.len()), "{} words: {text}", document.len());
        total += document.len();
        words.extend(document.into_iter().map(str::to_lowercase));
    }
    let length = total / 2000;
    assert!((60..=120).contains(&length), "documents have {length} words on average");
    assert!(words.len() > 700, "{} different words", words.len());
}

#[test]
fn items_about_the_same_fact_are_a_cluster() {
    let tasks = world(1).tasks();
    let clusters = |name: &str| -> BTreeMap<String, Vec<&WorldItem>> {
        let mut clusters = BTreeMap::<String, Vec<&WorldItem>>::new();
        for item in &tasks.iter().find(|task| task.name == name).unwrap().items {
            clusters.entry(item.cluster.clone().unwrap()).or_default().push(item);
        }
        clusters
    };
    for (name, facts) in [("residence", 48), ("occupation", 48), ("tools", 60), ("errands", 54)] {
        let clusters = clusters(name);
        assert_eq!(clusters.len(), facts, "{name}");
        for (fact, items) in clusters {
            let answers: BTreeSet<&String> = items.iter().map(|item| &item.choices[item.gold]).collect();
            assert_eq!(answers.len(), 1, "{name}: {fact} has one answer");
            assert!(
                items.iter().all(|item| item.context.contains(&fact)),
                "{name}: {fact} is in the context"
            );
        }
    }
    for name in ["agreement", "pronouns", "sizes", "exam"] {
        for (fact, items) in clusters(name) {
            assert!(
                items.iter().all(|item| item.context.contains(&fact)),
                "{name}: {fact} is in the context"
            );
        }
    }
    for (sum, items) in clusters("addition") {
        let numbers: Vec<&str> = sum.split(" + ").collect();
        let asked = |item: &&WorldItem| numbers.iter().all(|number| item.context.contains(number));
        assert!(items.iter().all(asked), "{sum} is in the context");
    }
}

fn page() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/concepts/tinyworld.md");
    fs_err::read_to_string(path).expect("the page is in the repository")
}

/// Returns the passages in italics, between single asterisks.
fn quotations(page: &str) -> Vec<String> {
    let without_bold = page.replace("**", "");
    without_bold.split('*').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns whether the parts of a quotation, separated by dots, occur in `text` in order.
fn quotes(quotation: &str, text: &str) -> bool {
    let text = text.replace('\n', " ");
    let mut parts = quotation.split("...").map(str::trim);
    parts.try_fold(text.as_str(), |rest, part| rest.split_once(part).map(|(_, after)| after)).is_some()
}

#[test]
fn the_documentation_quotes_the_generated_text() {
    let world = world(WorldConfig::default().seed);
    let mut texts: Vec<String> = (0..3000).map(|index| world.document(index)).collect();
    texts.extend(world.tasks().into_iter().flat_map(|task| task.items).map(|item| item.context));
    let quotations = quotations(&page());
    assert!(quotations.len() > 12, "{quotations:?}");
    for quotation in quotations {
        assert!(texts.iter().any(|text| quotes(&quotation, text)), "nowhere in this world: {quotation}");
    }
}

#[test]
fn the_documentation_lists_every_task() {
    let page = page();
    for task in world(WorldConfig::default().seed).tasks() {
        let facts: BTreeSet<&String> = task.items.iter().filter_map(|item| item.cluster.as_ref()).collect();
        let facts = if facts.is_empty() { "–".to_owned() } else { facts.len().to_string() };
        let row = format!("| {facts} | {} | {} |", task.items.len(), task.description);
        let found = page.lines().any(|line| {
            line.starts_with(&format!("| {} | `{}` |", task.domain, task.name)) && line.ends_with(&row)
        });
        assert!(found, "docs/concepts/tinyworld.md has no row for {} that ends in {row}", task.name);
    }
}
