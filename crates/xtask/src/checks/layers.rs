//! Modules are declared in layers, ground first, and import only from their own layer or those below it.

use std::collections::{BTreeMap, HashMap};

use crate::source::finding::{Finding, FindingKind};
use crate::source::imports::{ImportGraph, ModuleImport};
use crate::source::modules::{Module, ModuleId, ModuleTree, ROOT};

/// A crate with more top-level modules than this declares its layers.
const MAX_UNLAYERED: usize = 8;

/// Modules that are declared without a blank line between them.
struct Layer {
    /// Text of the `//` comment above the first declaration.
    name: Option<String>,
    line: usize,
    modules: Vec<ModuleId>,
}

pub(crate) fn check(
    tree: &ModuleTree,
    graph: &ImportGraph,
    files: &BTreeMap<String, String>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut layers = HashMap::new();
    for (id, module) in tree.modules.iter().enumerate().filter(|(_, module)| !module.is_inline) {
        let own = layers_of(tree, module, files);
        if own.len() > 1 {
            for layer in own.iter().filter(|layer| layer.name.is_none()) {
                let message = "layer without a name: write one `//` comment above its first module";
                findings.push(Finding::new(FindingKind::Layers, &module.file, layer.line, message));
            }
            layers.insert(id, own);
        } else if id == ROOT && module.children.len() > MAX_UNLAYERED {
            let message = format!(
                "{} modules without layers: declare them in groups separated by blank lines, ground first, \
                 each under a `//` comment with the layer's name",
                module.children.len()
            );
            findings.push(Finding::new(FindingKind::Layers, &module.file, 1, message));
        }
    }
    findings.extend(graph.imports.iter().filter_map(|import| upward(tree, &layers, import)));
    findings
}

fn layers_of(tree: &ModuleTree, module: &Module, files: &BTreeMap<String, String>) -> Vec<Layer> {
    let lines: Vec<&str> = files.get(&module.file).map(|text| text.lines().collect()).unwrap_or_default();
    let line = |number: usize| {
        number.checked_sub(1).and_then(|index| lines.get(index)).map_or("", |line| line.trim())
    };
    let mut children: Vec<ModuleId> =
        module.children.iter().copied().filter(|&child| !tree.modules[child].is_inline).collect();
    children.sort_by_key(|&child| tree.modules[child].declaration);
    let mut layers: Vec<Layer> = Vec::new();
    let mut last_end = None;
    for child in children {
        let (start, end) = tree.modules[child].declaration;
        let is_separate =
            last_end.is_none_or(|last: usize| (last + 1..start).any(|between| line(between).is_empty()));
        if is_separate {
            let above = line(start - 1);
            let is_comment =
                above.starts_with("//") && !above.starts_with("///") && !above.starts_with("//!");
            let name =
                is_comment.then(|| above.trim_start_matches('/').trim().trim_end_matches('.').to_owned());
            layers.push(Layer { name, line: start, modules: Vec::new() });
        }
        layers.last_mut().expect("the first module starts a layer").modules.push(child);
        last_end = Some(end);
    }
    layers
}

/// A finding where `import` leads from a layer to one above it.
fn upward(
    tree: &ModuleTree,
    layers: &HashMap<ModuleId, Vec<Layer>>,
    import: &ModuleImport,
) -> Option<Finding> {
    let (from, to) = (tree.lineage(import.from), tree.lineage(import.to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let (lower, upper) = (from.get(shared)?, to.get(shared)?);
    let layers = layers.get(&from[shared - 1])?;
    let position = |module: &ModuleId| layers.iter().position(|layer| layer.modules.contains(module));
    let (lower, upper) = (position(lower)?, position(upper)?);
    (upper > lower).then(|| {
        let name =
            |index: usize| layers[index].name.clone().unwrap_or_else(|| format!("layer {}", index + 1));
        let message = format!(
            "{} imports {}::{}, a layer above it (`{}` is above `{}`)",
            tree.display(import.from),
            tree.display(import.to),
            import.item,
            name(upper),
            name(lower)
        );
        Finding::new(FindingKind::Layers, &tree.modules[import.from].file, import.line, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::tree;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let tree = tree(files);
        let texts = files
            .iter()
            .map(|(path, text)| (format!("crates/demo/src/{path}"), (*text).to_owned()))
            .collect();
        check(&tree, &ImportGraph::new(&tree), &texts).into_iter().map(|finding| finding.message).collect()
    }

    const ROOT_FILE: &str =
        "// Ground\nmod a;\n/// Documented.\npub mod b;\n\n// Top\n#[cfg(unix)]\nmod c;\n";

    #[test]
    fn an_import_of_a_layer_above_is_found() {
        let found = found(&[
            ("lib.rs", ROOT_FILE),
            ("a.rs", "use crate::b::B; pub struct A;"),
            ("b.rs", "pub struct B;\nuse crate::c::d::D;"),
            ("c/mod.rs", "pub mod d; use crate::a::A;"),
            ("c/d.rs", "pub struct D; use crate::b::B;"),
        ]);
        assert_eq!(found, ["demo::b imports demo::c::d::D, a layer above it (`Top` is above `Ground`)"]);
    }

    #[test]
    fn layers_need_names() {
        let found = found(&[("lib.rs", "// Ground\nmod a;\n\nmod b;\n"), ("a.rs", ""), ("b.rs", "")]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("layer without a name"), "{found:?}");
    }

    #[test]
    fn many_modules_need_layers() {
        let root = ["a", "b", "c", "d", "e", "f", "g", "h", "i"].map(|name| format!("mod {name} {{}}")).join(
            "
",
        );
        assert_eq!(found(&[("lib.rs", &root)]).len(), 1);
    }
}
