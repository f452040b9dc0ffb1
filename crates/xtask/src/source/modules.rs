//! The tree of a crate's modules, without its tests.

use std::collections::{BTreeMap, HashMap};

use syn::spanned::Spanned as _;
use syn::{Attribute, Item, UseTree, Visibility};

use super::attributes;

/// Index of a module in [`ModuleTree::modules`].
pub(crate) type ModuleId = usize;

/// Index of the crate root.
pub(crate) const ROOT: ModuleId = 0;

/// All modules of one crate, starting at its `lib.rs` or `main.rs`.
pub(crate) struct ModuleTree {
    /// Name of the directory under `crates/`.
    pub crate_name: String,
    pub modules: Vec<Module>,
    /// Files that could not be parsed, with the error.
    pub errors: Vec<(String, usize, String)>,
}

/// A module in a file of its own, or an inline one.
pub(crate) struct Module {
    /// Path from the crate root; empty for the root.
    pub path: Vec<String>,
    /// File that contains the module.
    pub file: String,
    pub parent: Option<ModuleId>,
    pub children: Vec<ModuleId>,
    pub is_inline: bool,
    /// First and last line of the declaration in the parent's file, attributes included.
    pub declaration: (usize, usize),
    /// Conditions under which the module is compiled, its parents' included.
    pub conditions: Vec<String>,
    pub attributes: Vec<Attribute>,
    pub items: Vec<Item>,
    /// What each name of the module's scope stands for.
    pub names: HashMap<String, Vec<Binding>>,
    /// Paths of glob imports.
    pub globs: Vec<Vec<String>>,
}

/// What a name of a module's scope stands for.
#[derive(Clone, Debug)]
pub(crate) enum Binding {
    Module(ModuleId),
    Function,
    /// Any other item.
    Item,
    Import(Import),
}

/// One leaf of a `use` tree.
#[derive(Clone, Debug)]
pub(crate) struct Import {
    pub path: Vec<String>,
    /// Name that the import binds; `None` for globs.
    pub name: Option<String>,
    pub is_public: bool,
    pub line: usize,
}

/// A definition that a path leads to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Target {
    Module(ModuleId),
    Item { module: ModuleId, name: String, is_function: bool },
}

impl ModuleTree {
    /// Parses a crate from its root file. `files` maps paths to texts.
    pub(crate) fn parse(crate_name: &str, root_file: &str, files: &BTreeMap<String, String>) -> Self {
        let mut tree = Self { crate_name: crate_name.to_owned(), modules: Vec::new(), errors: Vec::new() };
        let directory = root_file.rsplit_once('/').map_or("", |(directory, _)| directory);
        let root = tree.add(Module {
            path: Vec::new(),
            file: root_file.to_owned(),
            parent: None,
            children: Vec::new(),
            is_inline: false,
            declaration: (1, 1),
            conditions: Vec::new(),
            attributes: Vec::new(),
            items: Vec::new(),
            names: HashMap::new(),
            globs: Vec::new(),
        });
        tree.fill_from_file(root, directory, files);
        tree
    }

    /// A module's path as written in code: `run::layout::names`.
    pub(crate) fn display(&self, module: ModuleId) -> String {
        std::iter::once(&self.crate_name)
            .chain(&self.modules[module].path)
            .cloned()
            .collect::<Vec<_>>()
            .join("::")
    }

    /// The module whose file contains `module`: itself, or the nearest parent that is not inline.
    pub(crate) fn file_module(&self, module: ModuleId) -> ModuleId {
        let mut module = module;
        while self.modules[module].is_inline {
            module = self.modules[module].parent.unwrap_or(ROOT);
        }
        module
    }

    /// The module and its parents, from the root down.
    pub(crate) fn lineage(&self, module: ModuleId) -> Vec<ModuleId> {
        let mut lineage = vec![module];
        while let Some(parent) = self.modules[lineage[lineage.len() - 1]].parent {
            lineage.push(parent);
        }
        lineage.reverse();
        lineage
    }

    /// Whether `module` is `ancestor` or below it.
    pub(crate) fn is_within(&self, module: ModuleId, ancestor: ModuleId) -> bool {
        self.lineage(module).contains(&ancestor)
    }

    /// Definitions that a path in the scope of `from` leads to, re-exports followed. Empty for paths out of
    /// the crate.
    pub(crate) fn resolve(&self, from: ModuleId, path: &[String]) -> Vec<Target> {
        let mut targets = self.resolve_in(from, path, &mut Vec::new());
        targets.sort();
        targets.dedup();
        targets
    }

    fn resolve_in(
        &self,
        from: ModuleId,
        path: &[String],
        visited: &mut Vec<(ModuleId, String)>,
    ) -> Vec<Target> {
        let mut module = from;
        let mut rest = path;
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => module = ROOT,
                "self" => {}
                "super" => match self.modules[module].parent {
                    Some(parent) => module = parent,
                    None => return Vec::new(),
                },
                _ => return self.look_up(module, rest, visited),
            }
            rest = others;
        }
        vec![Target::Module(module)]
    }

    fn look_up(
        &self,
        module: ModuleId,
        path: &[String],
        visited: &mut Vec<(ModuleId, String)>,
    ) -> Vec<Target> {
        let Some((name, rest)) = path.split_first() else { return vec![Target::Module(module)] };
        let visit = (module, name.clone());
        if visited.contains(&visit) {
            return Vec::new();
        }
        let mut targets = Vec::new();
        for binding in self.modules[module].names.get(name).into_iter().flatten() {
            match binding {
                Binding::Module(child) => targets.extend(self.look_up(*child, rest, visited)),
                Binding::Function | Binding::Item => targets.push(Target::Item {
                    module,
                    name: name.clone(),
                    is_function: matches!(binding, Binding::Function),
                }),
                Binding::Import(import) => {
                    visited.push(visit.clone());
                    let found = self.resolve_in(module, &import.path, visited);
                    targets.extend(self.continue_from(found, rest, visited));
                    visited.pop();
                }
            }
        }
        if targets.is_empty() {
            visited.push(visit);
            for glob in &self.modules[module].globs {
                let found = self.resolve_in(module, glob, visited);
                let found = found.into_iter().filter(|target| matches!(target, Target::Module(_))).collect();
                targets.extend(self.continue_from(found, path, visited));
            }
            visited.pop();
        }
        targets
    }

    fn continue_from(
        &self,
        targets: Vec<Target>,
        rest: &[String],
        visited: &mut Vec<(ModuleId, String)>,
    ) -> Vec<Target> {
        targets
            .into_iter()
            .flat_map(|target| match target {
                Target::Module(module) => self.look_up(module, rest, visited),
                item @ Target::Item { .. } => vec![item],
            })
            .collect()
    }

    fn add(&mut self, module: Module) -> ModuleId {
        self.modules.push(module);
        self.modules.len() - 1
    }

    fn fill_from_file(&mut self, module: ModuleId, directory: &str, files: &BTreeMap<String, String>) {
        let path = self.modules[module].file.clone();
        let Some(text) = files.get(&path) else {
            self.errors.push((path, 1, "file not found".to_owned()));
            return;
        };
        match syn::parse_file(text) {
            Ok(file) if attributes::is_test(&file.attrs) => {}
            Ok(file) => self.fill(module, file.items, directory, files),
            Err(error) => self.errors.push((path, error.span().start().line, error.to_string())),
        }
    }

    fn fill(
        &mut self,
        module: ModuleId,
        items: Vec<Item>,
        directory: &str,
        files: &BTreeMap<String, String>,
    ) {
        let mut kept = Vec::new();
        for item in items {
            if attributes::is_test(attributes_of(&item)) {
                continue;
            }
            match item {
                Item::Mod(declaration) => self.add_child(module, declaration, directory, files),
                item => {
                    self.bind(module, &item);
                    kept.push(item);
                }
            }
        }
        self.modules[module].items = kept;
    }

    fn add_child(
        &mut self,
        parent: ModuleId,
        declaration: syn::ItemMod,
        directory: &str,
        files: &BTreeMap<String, String>,
    ) {
        let name = declaration.ident.to_string();
        let below = if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
        let start =
            declaration.attrs.first().map_or(declaration.span(), syn::spanned::Spanned::span).start().line;
        let end = declaration.span().end().line;
        let file = if declaration.content.is_some() {
            self.modules[parent].file.clone()
        } else if let Some(explicit) = attributes::explicit_path(&declaration.attrs) {
            let beside = self.modules[parent].file.rsplit_once('/').map_or("", |(directory, _)| directory);
            format!("{beside}/{explicit}")
        } else {
            let flat = format!("{below}.rs");
            if files.contains_key(&flat) { flat } else { format!("{below}/mod.rs") }
        };
        let mut path = self.modules[parent].path.clone();
        path.push(name.clone());
        let mut conditions = self.modules[parent].conditions.clone();
        conditions.extend(attributes::conditions(&declaration.attrs));
        let child = self.add(Module {
            path,
            file,
            parent: Some(parent),
            children: Vec::new(),
            is_inline: declaration.content.is_some(),
            declaration: (start, end),
            conditions,
            attributes: declaration.attrs,
            items: Vec::new(),
            names: HashMap::new(),
            globs: Vec::new(),
        });
        self.modules[parent].children.push(child);
        self.modules[parent].names.entry(name).or_default().push(Binding::Module(child));
        match declaration.content {
            Some((_, items)) => self.fill(child, items, &below, files),
            None => self.fill_from_file(child, &below, files),
        }
    }

    fn bind(&mut self, module: ModuleId, item: &Item) {
        let scope = &mut self.modules[module];
        let mut add = |name: String, binding: Binding| scope.names.entry(name).or_default().push(binding);
        match item {
            Item::Fn(item) => add(item.sig.ident.to_string(), Binding::Function),
            Item::Struct(item) => add(item.ident.to_string(), Binding::Item),
            Item::Enum(item) => add(item.ident.to_string(), Binding::Item),
            Item::Union(item) => add(item.ident.to_string(), Binding::Item),
            Item::Trait(item) => add(item.ident.to_string(), Binding::Item),
            Item::TraitAlias(item) => add(item.ident.to_string(), Binding::Item),
            Item::Type(item) => add(item.ident.to_string(), Binding::Item),
            Item::Const(item) => add(item.ident.to_string(), Binding::Item),
            Item::Static(item) => add(item.ident.to_string(), Binding::Item),
            Item::Macro(item) => {
                if let Some(name) = &item.ident {
                    add(name.to_string(), Binding::Item);
                }
            }
            Item::Use(item) => {
                for import in imports(item) {
                    match &import.name {
                        Some(name) => add(name.clone(), Binding::Import(import.clone())),
                        None => scope.globs.push(import.path),
                    }
                }
            }
            _ => {}
        }
    }
}

/// The leaves of a `use` item.
pub(crate) fn imports(item: &syn::ItemUse) -> Vec<Import> {
    let is_public = !matches!(item.vis, Visibility::Inherited);
    let mut imports = Vec::new();
    if item.leading_colon.is_none() {
        collect_imports(&item.tree, &mut Vec::new(), is_public, &mut imports);
    }
    imports
}

fn collect_imports(tree: &UseTree, prefix: &mut Vec<String>, is_public: bool, imports: &mut Vec<Import>) {
    let line = tree.span().start().line;
    match tree {
        UseTree::Path(path) => {
            prefix.push(path.ident.to_string());
            collect_imports(&path.tree, prefix, is_public, imports);
            prefix.pop();
        }
        UseTree::Name(name) => {
            let name = name.ident.to_string();
            imports.push(leaf(prefix, &name, &name, is_public, line));
        }
        UseTree::Rename(rename) => {
            imports.push(leaf(
                prefix,
                &rename.ident.to_string(),
                &rename.rename.to_string(),
                is_public,
                line,
            ));
        }
        UseTree::Glob(_) => imports.push(Import { path: prefix.clone(), name: None, is_public, line }),
        UseTree::Group(group) => {
            for tree in &group.items {
                collect_imports(tree, prefix, is_public, imports);
            }
        }
    }
}

fn leaf(prefix: &[String], last: &str, name: &str, is_public: bool, line: usize) -> Import {
    let mut path = prefix.to_vec();
    // `use a::{self}` binds `a`.
    let mut name = name.to_owned();
    if last == "self" {
        if name == "self" {
            name = prefix.last().cloned().unwrap_or_default();
        }
    } else {
        path.push(last.to_owned());
    }
    Import { path, name: Some(name), is_public, line }
}

/// The attributes of any item.
pub(crate) fn attributes_of(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::ForeignMod(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::TraitAlias(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Union(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::tree;

    fn resolved(tree: &ModuleTree, path: &str) -> Vec<String> {
        let path: Vec<String> = path.split("::").map(str::to_owned).collect();
        tree.resolve(ROOT, &path)
            .into_iter()
            .map(|target| match target {
                Target::Module(module) => tree.display(module),
                Target::Item { module, name, .. } => format!("{}::{name}", tree.display(module)),
            })
            .collect()
    }

    #[test]
    fn re_exports_lead_to_the_defining_module() {
        let tree = tree(&[
            ("lib.rs", "mod a; mod c; pub use a::*; pub use a::Thing as Other;"),
            ("a/mod.rs", "mod b; pub use b::Thing;"),
            ("a/b.rs", "pub struct Thing; #[cfg(test)] mod tests { struct Hidden; }"),
            ("c.rs", "use crate::Thing;"),
        ]);
        assert_eq!(resolved(&tree, "crate::Thing"), ["demo::a::b::Thing"]);
        assert_eq!(resolved(&tree, "Other::new"), ["demo::a::b::Thing"]);
        assert_eq!(resolved(&tree, "crate::c::Thing"), ["demo::a::b::Thing"]);
        assert_eq!(resolved(&tree, "a::b"), ["demo::a::b"]);
        assert!(resolved(&tree, "std::fmt").is_empty());
    }

    #[test]
    fn imports_of_the_same_name_end() {
        let tree = tree(&[
            ("lib.rs", "use anyhow::anyhow; mod config; pub use config::config;"),
            ("config.rs", "pub fn config() {}"),
        ]);
        assert!(resolved(&tree, "anyhow::anyhow").is_empty());
        assert_eq!(resolved(&tree, "config::config"), ["demo::config::config"]);
    }
}
