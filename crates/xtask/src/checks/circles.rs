//! No modules of a crate import each other in a circle.

use std::fmt::Write as _;

use crate::source::finding::{Finding, FindingKind};
use crate::source::imports::ImportGraph;
use crate::source::modules::{ModuleId, ModuleTree};

pub(crate) fn check(tree: &ModuleTree, graph: &ImportGraph) -> Vec<Finding> {
    components(&graph.neighbours(tree.modules.len()))
        .into_iter()
        .filter(|component| component.len() > 1)
        .map(|component| finding(tree, graph, &component))
        .collect()
}

fn finding(tree: &ModuleTree, graph: &ImportGraph, component: &[ModuleId]) -> Finding {
    let mut names: Vec<String> = component.iter().map(|&module| tree.display(module)).collect();
    names.sort();
    let mut message = format!("circle of {} modules: {}", names.len(), names.join(", "));
    let imports = graph.imports.iter().filter(|i| component.contains(&i.from) && component.contains(&i.to));
    for import in imports.clone() {
        let from = &tree.modules[import.from];
        let to = tree.display(import.to);
        let _ = write!(message, "\n    {}:{}: {to}::{}", from.file, import.line, import.item);
    }
    let (path, line) =
        imports.map(|import| (&tree.modules[import.from].file, import.line)).next().expect("a circle");
    Finding::new(FindingKind::Circles, path, line, message)
}

/// Strongly connected components (Tarjan), each sorted.
fn components(neighbours: &[Vec<ModuleId>]) -> Vec<Vec<ModuleId>> {
    let mut search = ComponentSearch {
        neighbours,
        next: 0,
        index: vec![None; neighbours.len()],
        low: vec![0; neighbours.len()],
        stack: Vec::new(),
        components: Vec::new(),
    };
    for module in 0..neighbours.len() {
        if search.index[module].is_none() {
            search.visit(module);
        }
    }
    search.components.sort();
    search.components
}

struct ComponentSearch<'a> {
    neighbours: &'a [Vec<ModuleId>],
    next: usize,
    index: Vec<Option<usize>>,
    low: Vec<usize>,
    stack: Vec<ModuleId>,
    components: Vec<Vec<ModuleId>>,
}

impl ComponentSearch<'_> {
    fn visit(&mut self, module: ModuleId) {
        self.index[module] = Some(self.next);
        self.low[module] = self.next;
        self.next += 1;
        self.stack.push(module);
        for &neighbour in &self.neighbours[module] {
            match self.index[neighbour] {
                None => {
                    self.visit(neighbour);
                    self.low[module] = self.low[module].min(self.low[neighbour]);
                }
                Some(index) if self.stack.contains(&neighbour) => {
                    self.low[module] = self.low[module].min(index);
                }
                Some(_) => {}
            }
        }
        if Some(self.low[module]) == self.index[module] {
            let start =
                self.stack.iter().position(|&other| other == module).expect("the module is on the stack");
            let mut component = self.stack.split_off(start);
            component.sort_unstable();
            self.components.push(component);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::tree;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let tree = tree(files);
        check(&tree, &ImportGraph::new(&tree)).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_circle_through_the_root_is_found() {
        let found = found(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub use b::B;"),
            ("a.rs", "pub struct A;\nuse crate::B;"),
            ("b.rs", "pub struct B;\nuse crate::A;"),
        ]);
        assert_eq!(
            found,
            ["circle of 2 modules: demo::a, demo::b\n    crates/demo/src/a.rs:2: demo::b::B\n    \
              crates/demo/src/b.rs:2: demo::a::A"]
        );
    }

    #[test]
    fn a_child_that_uses_its_parent_which_uses_it_is_a_circle() {
        let child = ("a/b.rs", "use super::A; pub struct B;");
        assert_eq!(
            found(&[("lib.rs", "mod a;"), ("a/mod.rs", "mod b; pub struct A; use b::B;"), child]).len(),
            1
        );
        assert!(
            found(&[("lib.rs", "mod a;"), ("a/mod.rs", "mod b; pub struct A; pub use b::B;"), child])
                .is_empty()
        );
    }

    #[test]
    fn a_chain_is_no_circle() {
        let files = [
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub struct A;"),
            ("b.rs", "use crate::a::A; pub struct B(A);"),
        ];
        assert!(found(&files).is_empty());
    }
}
