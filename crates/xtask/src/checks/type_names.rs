//! A type name stands for one type of a crate, and a public one for one type of the workspace.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};
use syn::{Attribute, Ident, Item, Visibility};

use crate::source::attributes;
use crate::source::finding::{Finding, FindingKind};
use crate::source::modules::{ModuleTree, attributes_of};

/// Definition of a struct, enum, union, trait or type alias.
#[derive(Clone, Debug)]
struct TypeDefinition {
    name: String,
    crate_name: String,
    path: String,
    line: usize,
    is_public: bool,
    conditions: Vec<String>,
}

pub(crate) fn check(trees: &[ModuleTree]) -> Vec<Finding> {
    let mut by_name: BTreeMap<String, Vec<TypeDefinition>> = BTreeMap::new();
    for definition in trees.iter().flat_map(definitions) {
        by_name.entry(definition.name.clone()).or_default().push(definition);
    }
    by_name.values().flat_map(|definitions| duplicates(definitions)).collect()
}

/// One finding for each definition that repeats an earlier one.
fn duplicates(definitions: &[TypeDefinition]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, definition) in definitions.iter().enumerate() {
        let earlier = definitions[..index].iter().find(|earlier| {
            let is_same_crate = earlier.crate_name == definition.crate_name;
            (is_same_crate || earlier.is_public && definition.is_public)
                && !exclude_each_other(earlier, definition)
        });
        if let Some(earlier) = earlier {
            let scope =
                if earlier.crate_name == definition.crate_name { "in this crate" } else { "publicly" };
            let message = format!(
                "`{}` is already defined {scope}, at {}:{}",
                definition.name, earlier.path, earlier.line
            );
            findings.push(Finding::new(FindingKind::TypeNames, &definition.path, definition.line, message));
        }
    }
    findings
}

/// Whether two definitions are never compiled together: one under a condition, the other under its negation.
fn exclude_each_other(a: &TypeDefinition, b: &TypeDefinition) -> bool {
    let negated = |conditions: &[String], others: &[String]| {
        conditions.iter().any(|condition| others.contains(&format!("not({condition})")))
    };
    a.crate_name == b.crate_name
        && (negated(&a.conditions, &b.conditions) || negated(&b.conditions, &a.conditions))
}

fn definitions(tree: &ModuleTree) -> Vec<TypeDefinition> {
    let mut all = Vec::new();
    for module in &tree.modules {
        let mut collector = DefinitionCollector {
            tree,
            path: &module.file,
            conditions: module.conditions.clone(),
            all: &mut all,
        };
        for item in &module.items {
            collector.visit_item(item);
        }
    }
    all
}

struct DefinitionCollector<'a> {
    tree: &'a ModuleTree,
    path: &'a str,
    conditions: Vec<String>,
    all: &'a mut Vec<TypeDefinition>,
}

impl DefinitionCollector<'_> {
    fn add(&mut self, ident: &Ident, visibility: &Visibility, attributes: &[Attribute]) {
        let mut conditions = self.conditions.clone();
        conditions.extend(attributes::conditions(attributes));
        self.all.push(TypeDefinition {
            name: ident.to_string(),
            crate_name: self.tree.crate_name.clone(),
            path: self.path.to_owned(),
            line: ident.span().start().line,
            is_public: matches!(visibility, Visibility::Public(_)),
            conditions,
        });
    }
}

impl<'ast> Visit<'ast> for DefinitionCollector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if attributes::is_test(attributes_of(item)) {
            return;
        }
        match item {
            Item::Struct(item) => self.add(&item.ident, &item.vis, &item.attrs),
            Item::Enum(item) => self.add(&item.ident, &item.vis, &item.attrs),
            Item::Union(item) => self.add(&item.ident, &item.vis, &item.attrs),
            Item::Trait(item) => self.add(&item.ident, &item.vis, &item.attrs),
            Item::Type(item) => self.add(&item.ident, &item.vis, &item.attrs),
            _ => {}
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !attributes::is_test(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::tree;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        check(&[tree(files)]).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_name_may_be_used_once_in_a_crate() {
        let found = found(&[
            ("lib.rs", "mod a; struct Progress;"),
            ("a.rs", "fn f() { enum Progress {} }\n#[cfg(test)] mod tests { struct Progress; }"),
        ]);
        assert_eq!(found, ["`Progress` is already defined in this crate, at crates/demo/src/lib.rs:1"]);
    }

    #[test]
    fn variants_of_a_platform_or_feature_are_one_type() {
        let files = [
            (
                "lib.rs",
                "#[cfg(feature = \"x\")] mod enabled; #[cfg(not(feature = \"x\"))] mod disabled; \
                 #[cfg(unix)] struct Id; #[cfg(not(unix))] struct Id;",
            ),
            ("enabled.rs", "pub struct Uploader;"),
            ("disabled.rs", "pub struct Uploader;"),
        ];
        assert!(found(&files).is_empty());
    }

    #[test]
    fn a_public_name_may_be_used_once_in_the_workspace() {
        let mut other = tree(&[("lib.rs", "pub struct Progress; struct Private;")]);
        other.crate_name = "other".to_owned();
        let found = check(&[tree(&[("lib.rs", "pub enum Progress {} pub struct Private;")]), other]);
        assert_eq!(found.len(), 1);
        assert!(found[0].message.contains("`Progress` is already defined publicly"));
    }
}
