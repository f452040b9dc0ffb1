//! The imports between a crate's modules: what each module uses of the others, by `use` or by path.

use std::collections::{BTreeSet, HashSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{Attribute, Item, ItemUse, Macro, Pat};

use super::attributes;
use super::modules::{Binding, Import, ModuleId, ModuleTree, ROOT, Target, attributes_of, imports};

/// One use of another module's item. Modules are those with a file; inline ones count as their file's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ModuleImport {
    pub from: ModuleId,
    /// The module that defines the item, re-exports followed.
    pub to: ModuleId,
    pub line: usize,
    pub item: String,
}

/// An import whose path leads through a re-export of the crate root.
#[derive(Clone, Debug)]
pub(crate) struct RootImport {
    pub from: ModuleId,
    pub to: ModuleId,
    pub line: usize,
    pub item: String,
}

/// All imports of a crate.
#[derive(Default)]
pub(crate) struct ImportGraph {
    /// Sorted; one per pair of modules and item, at the first line.
    pub imports: Vec<ModuleImport>,
    pub through_root: Vec<RootImport>,
}

impl ImportGraph {
    pub(crate) fn new(tree: &ModuleTree) -> Self {
        let mut collector = ImportCollector {
            tree,
            module: ROOT,
            bound: Vec::new(),
            aliases: Vec::new(),
            seen: HashSet::new(),
            imports: BTreeSet::new(),
            through_root: Vec::new(),
        };
        for module in 0..tree.modules.len() {
            collector.module = module;
            for attribute in &tree.modules[module].attributes {
                collector.visit_attribute(attribute);
            }
            for item in &tree.modules[module].items {
                collector.visit_item(item);
            }
        }
        Self { imports: collector.imports.into_iter().collect(), through_root: collector.through_root }
    }

    /// For each module, the modules that it imports from.
    pub(crate) fn neighbours(&self, modules: usize) -> Vec<Vec<ModuleId>> {
        let mut neighbours = vec![Vec::new(); modules];
        for import in &self.imports {
            if !neighbours[import.from].contains(&import.to) {
                neighbours[import.from].push(import.to);
            }
        }
        neighbours
    }
}

struct ImportCollector<'a> {
    tree: &'a ModuleTree,
    module: ModuleId,
    /// Names of local variables and parameters of the functions around.
    bound: Vec<HashSet<String>>,
    /// Names that `use` items within the functions around bind, with their paths.
    aliases: Vec<(String, Vec<String>)>,
    /// Uses that are recorded already, by module, defining module and item.
    seen: HashSet<(ModuleId, ModuleId, String)>,
    imports: BTreeSet<ModuleImport>,
    through_root: Vec<RootImport>,
}

impl ImportCollector<'_> {
    fn record(&mut self, path: &[String], line: usize) {
        for target in self.tree.resolve(self.module, path) {
            let Target::Item { module, name, .. } = target else { continue };
            let (from, to) = (self.tree.file_module(self.module), self.tree.file_module(module));
            if from != to && self.seen.insert((from, to, name.clone())) {
                self.imports.insert(ModuleImport { from, to, line, item: name });
            }
        }
    }

    fn record_import(&mut self, import: &Import) {
        if import.name.is_none() {
            return; // What a glob brings is recorded where it is used.
        }
        let targets = self.tree.resolve(self.module, &import.path);
        let within = |target: &Target| match target {
            Target::Module(module) | Target::Item { module, .. } => self.tree.is_within(*module, self.module),
        };
        if import.is_public && targets.iter().all(within) {
            return; // A re-export of a module below is no import.
        }
        self.record(&import.path, import.line);
        self.check_root(&import.path, &targets, import.line);
    }

    /// Records `crate::Name` where the root does not define `Name`.
    fn check_root(&mut self, path: &[String], targets: &[Target], line: usize) {
        let depth = path.iter().take_while(|segment| *segment == "super").count();
        let at_root = path.first().is_some_and(|first| first == "crate")
            || depth > 0 && depth == self.tree.modules[self.module].path.len();
        let Some(name) = path.get(depth.max(1)).filter(|_| at_root) else { return };
        let bindings = self.tree.modules[ROOT].names.get(name).map_or(&[][..], Vec::as_slice);
        if !bindings.is_empty() && !bindings.iter().all(|binding| matches!(binding, Binding::Import(_))) {
            return;
        }
        let from = self.tree.file_module(self.module);
        for target in targets {
            if let Target::Item { module, name, .. } = target
                && from != ROOT
                && *module != ROOT
            {
                self.through_root.push(RootImport { from, to: *module, line, item: name.clone() });
            }
        }
    }

    /// Records a path of an expression, type or pattern.
    fn record_path(&mut self, segments: &[String], line: usize) {
        let alias = self.aliases.iter().rev().find(|(name, _)| Some(name) == segments.first());
        if let Some((_, path)) = alias {
            let path = [path, &segments[1..]].concat();
            self.record(&path, line);
            return;
        }
        match segments {
            [] => {}
            [name] => {
                let is_local = self.bound.iter().any(|names| names.contains(name));
                let is_imported = self.tree.modules[self.module].names.get(name).is_some_and(|bindings| {
                    bindings.iter().all(|binding| match binding {
                        Binding::Import(import) => !import.is_public,
                        _ => true,
                    })
                });
                if !is_local && !is_imported {
                    self.record(segments, line);
                }
            }
            _ => {
                self.record(segments, line);
                let targets = self.tree.resolve(self.module, segments);
                self.check_root(segments, &targets, line);
            }
        }
    }

    /// Records the paths within the arguments of a macro.
    fn record_tokens(&mut self, tokens: &TokenStream) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let is_punct =
            |at: usize, c: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == c);
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(first) => {
                    let after_dot = at > 0 && is_punct(at - 1, '.');
                    let line = first.span().start().line;
                    let mut path = vec![first.to_string()];
                    at += 1;
                    while is_punct(at, ':')
                        && is_punct(at + 1, ':')
                        && let Some(TokenTree::Ident(next)) = tokens.get(at + 2)
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    let is_call = matches!(
                        tokens.get(at),
                        Some(TokenTree::Group(group)) if group.delimiter() != Delimiter::Bracket
                    );
                    if !after_dot && (path.len() > 1 || is_call) {
                        self.record_path(&path, line);
                    }
                }
                TokenTree::Group(group) => {
                    self.record_tokens(&group.stream());
                    at += 1;
                }
                TokenTree::Literal(literal) => {
                    // `#[serde(default = "defaults::steps")]` names a function by a string.
                    let text = literal.to_string();
                    let text = text.trim_matches('"');
                    let is_path =
                        text.contains("::") && text.chars().all(|c| c.is_alphanumeric() || "_:".contains(c));
                    if is_path && is_punct(at.wrapping_sub(1), '=') {
                        let path: Vec<String> = text.split("::").map(str::to_owned).collect();
                        self.record_path(&path, literal.span().start().line);
                    }
                    at += 1;
                }
                TokenTree::Punct(_) => at += 1,
            }
        }
    }

    fn within_function(&mut self, names: HashSet<String>, visit: impl FnOnce(&mut Self)) {
        self.bound.push(names);
        let outer = self.aliases.len();
        visit(self);
        self.aliases.truncate(outer);
        self.bound.pop();
    }
}

impl<'ast> Visit<'ast> for ImportCollector<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes::is_test(attributes_of(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, _: &'ast syn::ItemMod) {
        // A module within a function; rare enough to be skipped. All others are in the tree.
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        for import in imports(item) {
            self.record_import(&import);
            if let Some(name) = import.name.filter(|_| !self.bound.is_empty()) {
                self.aliases.push((name, import.path));
            }
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        let names = bound_names(|names| names.visit_item_fn(function));
        self.within_function(names, |this| visit::visit_item_fn(this, function));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !attributes::is_test(&function.attrs) {
            let names = bound_names(|names| names.visit_impl_item_fn(function));
            self.within_function(names, |this| visit::visit_impl_item_fn(this, function));
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        let names = bound_names(|names| names.visit_trait_item_fn(function));
        self.within_function(names, |this| visit::visit_trait_item_fn(this, function));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.leading_colon.is_none() {
            let segments: Vec<String> =
                path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.record_path(&segments, path.span().start().line);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast Macro) {
        visit::visit_macro(self, invocation);
        self.record_tokens(&invocation.tokens);
    }

    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        // The body of a `macro_rules!` is read as it stands: `$crate::path` and plain paths alike.
        visit::visit_item_macro(self, item);
    }

    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if !attribute.path().is_ident("doc")
            && let Ok(list) = attribute.meta.require_list()
        {
            self.record_tokens(&list.tokens);
        }
    }
}

/// Names that the patterns of a function bind.
struct BoundNames(HashSet<String>);

fn bound_names(visit: impl FnOnce(&mut BoundNames)) -> HashSet<String> {
    let mut names = BoundNames(HashSet::new());
    visit(&mut names);
    names.0
}

impl<'ast> Visit<'ast> for BoundNames {
    fn visit_pat(&mut self, pattern: &'ast Pat) {
        if let Pat::Ident(ident) = pattern {
            let name = ident.ident.to_string();
            if name.starts_with(|c: char| c.is_lowercase() || c == '_') {
                self.0.insert(name);
            }
        }
        visit::visit_pat(self, pattern);
    }

    fn visit_item(&mut self, _: &'ast Item) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::tree;

    fn edges(files: &[(&str, &str)]) -> Vec<String> {
        let tree = tree(files);
        ImportGraph::new(&tree)
            .imports
            .iter()
            .map(|import| {
                format!("{} <- {}::{}", tree.display(import.from), tree.display(import.to), import.item)
            })
            .collect()
    }

    #[test]
    fn imports_through_re_exports_lead_to_the_definition() {
        let found = edges(&[
            ("lib.rs", "mod a; mod b; pub use a::Thing;"),
            ("a.rs", "pub struct Thing;"),
            ("b.rs", "use crate::Thing; fn f(_: Thing) {}"),
        ]);
        assert_eq!(found, ["demo::b <- demo::a::Thing"]);
    }

    #[test]
    fn a_parent_that_uses_its_re_export_imports_it() {
        let files = |body| [("lib.rs", body), ("a.rs", "pub struct Thing; pub fn thing() {}")];
        assert!(edges(&files("mod a; pub use a::{Thing, thing};")).is_empty());
        assert_eq!(edges(&files("mod a; pub use a::Thing; fn f(_: Thing) {}")), ["demo <- demo::a::Thing"]);
        assert!(edges(&files("mod a; pub use a::thing; fn f() { let thing = 1; g(thing); }")).is_empty());
        assert_eq!(edges(&files("mod a; use a::Thing;")), ["demo <- demo::a::Thing"]);
    }

    #[test]
    fn paths_in_expressions_macros_and_attributes_count() {
        let found = edges(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub fn f() {} pub fn g() {} pub fn h() {} pub struct S;"),
            (
                "b.rs",
                r#"
                use crate::a;
                #[serde(default = "a::h")]
                struct T(super::a::S);
                fn k() { a::f(); println!("{}", crate::a::g()); }
                "#,
            ),
        ]);
        assert_eq!(
            found,
            [
                "demo::b <- demo::a::h",
                "demo::b <- demo::a::S",
                "demo::b <- demo::a::f",
                "demo::b <- demo::a::g"
            ]
        );
    }

    #[test]
    fn modules_imported_within_a_function_count() {
        let found = edges(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub fn f() {}"),
            ("b.rs", "fn g() { use crate::a as c; c::f(); } fn h() { c::f(); }"),
        ]);
        assert_eq!(found, ["demo::b <- demo::a::f"]);
    }

    #[test]
    fn inline_modules_and_tests_are_their_files() {
        let found = edges(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub struct S; mod inner { use super::S; use crate::b::B; }"),
            (
                "b.rs",
                "pub struct B; #[cfg(test)] mod tests { use crate::a::S; } #[test] fn t() { crate::a::f() }",
            ),
        ]);
        assert_eq!(found, ["demo::a <- demo::b::B"]);
    }

    #[test]
    fn names_of_globs_count_where_they_are_used() {
        let found = edges(&[
            ("lib.rs", "mod a; mod b;"),
            ("a.rs", "pub struct S; pub struct Unused;"),
            ("b.rs", "use crate::a::*; fn f(_: S) {}"),
        ]);
        assert_eq!(found, ["demo::b <- demo::a::S"]);
    }

    #[test]
    fn imports_through_the_root_are_noted() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod b; mod c; pub use a::Thing;"),
            ("a.rs", "pub struct Thing;"),
            ("b.rs", "use crate::Thing;"),
            ("c.rs", "use crate::a::Thing; use super::Thing as T;"),
        ]);
        let noted = ImportGraph::new(&tree).through_root;
        assert_eq!(
            noted.iter().map(|import| tree.display(import.from)).collect::<Vec<_>>(),
            ["demo::b", "demo::c"]
        );
    }
}
