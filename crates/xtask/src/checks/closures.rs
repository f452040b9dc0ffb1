//! No closure bears the name of the function around it, nor of a function in its module's scope.

use syn::visit::{self, Visit};
use syn::{Expr, Item, Local, Pat};

use crate::source::attributes;
use crate::source::finding::{Finding, FindingKind};
use crate::source::modules::{ModuleId, ModuleTree, Target, attributes_of};

pub(crate) fn check(tree: &ModuleTree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (id, module) in tree.modules.iter().enumerate() {
        let mut search = ClosureSearch { tree, module: id, functions: Vec::new(), findings: &mut findings };
        for item in &module.items {
            search.visit_item(item);
        }
    }
    findings
}

struct ClosureSearch<'a> {
    tree: &'a ModuleTree,
    module: ModuleId,
    /// Names of the functions around, outermost first.
    functions: Vec<String>,
    findings: &'a mut Vec<Finding>,
}

impl ClosureSearch<'_> {
    fn within(&mut self, name: &syn::Ident, visit: impl FnOnce(&mut Self)) {
        self.functions.push(name.to_string());
        visit(self);
        self.functions.pop();
    }

    fn is_function(&self, name: &str) -> bool {
        let targets = self.tree.resolve(self.module, &[name.to_owned()]);
        targets.iter().any(|target| matches!(target, Target::Item { is_function: true, .. }))
    }
}

impl<'ast> Visit<'ast> for ClosureSearch<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !attributes::is_test(attributes_of(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.within(&function.sig.ident, |this| visit::visit_item_fn(this, function));
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        if !attributes::is_test(&function.attrs) {
            self.within(&function.sig.ident, |this| visit::visit_impl_item_fn(this, function));
        }
    }

    fn visit_trait_item_fn(&mut self, function: &'ast syn::TraitItemFn) {
        self.within(&function.sig.ident, |this| visit::visit_trait_item_fn(this, function));
    }

    fn visit_local(&mut self, local: &'ast Local) {
        let pattern = match &local.pat {
            Pat::Type(typed) => &*typed.pat,
            pattern => pattern,
        };
        if let Pat::Ident(ident) = pattern
            && let Some(init) = &local.init
            && matches!(&*init.expr, Expr::Closure(_))
        {
            let name = ident.ident.to_string();
            let around = self.functions.last() == Some(&name);
            if around || self.is_function(&name) {
                let other = if around { "the function around it" } else { "a function in scope" };
                let message = format!("closure `{name}` bears the name of {other}");
                let path = &self.tree.modules[self.module].file;
                let line = ident.ident.span().start().line;
                self.findings.push(Finding::new(FindingKind::Closures, path, line, message));
            }
        }
        visit::visit_local(self, local);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::testing::tree;

    #[test]
    fn closures_with_names_of_functions_are_found() {
        let tree = tree(&[
            ("lib.rs", "mod a;\nuse a::g;\nfn f() {\nlet f = || 1;\nlet g = |x: u8| x;\nlet h = || 2;\n}"),
            ("a.rs", "pub fn g() {}\nstruct S;\nimpl S { fn f() { let f = || 1; } }"),
        ]);
        let found: Vec<String> = check(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "crates/demo/src/lib.rs:4: closure `f` bears the name of the function around it",
                "crates/demo/src/lib.rs:5: closure `g` bears the name of a function in scope",
                "crates/demo/src/a.rs:3: closure `f` bears the name of the function around it",
            ]
        );
    }
}
