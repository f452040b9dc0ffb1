//! Items are imported from the module that defines them, not through the crate root, and children do not
//! import from their parent.

use crate::source::finding::{Finding, FindingKind};
use crate::source::imports::ImportGraph;
use crate::source::modules::{ModuleTree, ROOT};

pub(crate) fn check(tree: &ModuleTree, graph: &ImportGraph) -> Vec<Finding> {
    let through_root = graph.through_root.iter().map(|import| {
        let module = tree.modules[import.to].path.join("::");
        let message = format!("import from the defining module: `crate::{module}::{}`", import.item);
        Finding::new(FindingKind::Imports, &tree.modules[import.from].file, import.line, message)
    });
    let from_parent =
        graph.imports.iter().filter(|import| tree.is_within(import.from, import.to)).map(|import| {
            let parent =
                if import.to == ROOT { "the crate root".to_owned() } else { tree.display(import.to) };
            let message = format!(
                "{} imports `{}` from its parent, {parent}: move it into a module below both",
                tree.display(import.from),
                import.item
            );
            Finding::new(FindingKind::Imports, &tree.modules[import.from].file, import.line, message)
        });
    through_root.chain(from_parent).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::tree;

    #[test]
    fn imports_from_the_root_and_from_parents_are_found() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b; pub use a::A; pub struct R;"),
            ("a.rs", "pub struct A; use crate::R;"),
            ("b.rs", "use crate::A; use crate::a::A as B;"),
        ]);
        let found = check(&tree, &ImportGraph::new(&tree));
        let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "import from the defining module: `crate::a::A`",
                "demo::a imports `R` from its parent, the crate root: move it into a module below both"
            ]
        );
    }
}
