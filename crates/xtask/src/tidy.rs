//! `cargo xtask tidy`: runs the checks and prints what they find.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::checks::{
    circles, closures, dependencies, docs, english, files, imports, layers, type_names, width,
};
use crate::source::finding::{Finding, FindingKind};
use crate::source::imports::ImportGraph;
use crate::source::modules::ModuleTree;
use crate::source::repository::Repository;

/// Checks the structure and the text of the repository.
#[derive(clap::Args, Default)]
pub(crate) struct TidyArgs {
    /// Run only these kinds of checks.
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    only: Vec<FindingKind>,
    /// Print only findings in these crates (directory names under `crates/`).
    #[arg(long = "crate", value_name = "NAME", value_delimiter = ',')]
    crates: Vec<String>,
}

impl TidyArgs {
    fn wants(&self, kind: FindingKind) -> bool {
        self.only.is_empty() || self.only.contains(&kind)
    }

    fn covers(&self, finding: &Finding) -> bool {
        let is_in = |name: &String| finding.path.starts_with(&format!("crates/{name}/"));
        self.wants(finding.kind) && (self.crates.is_empty() || self.crates.iter().any(is_in))
    }
}

/// Prints all findings, and fails if there are any.
///
/// # Errors
///
/// If the repository cannot be read, or a rule is violated.
pub(crate) fn run(args: &TidyArgs) -> Result<()> {
    let repository = Repository::open()?;
    let mut findings = all_findings(&repository);
    findings.retain(|finding| args.covers(finding));
    findings.sort();
    findings.dedup();
    let mut counts: BTreeMap<FindingKind, usize> = BTreeMap::new();
    for finding in &findings {
        println!("{finding}");
        *counts.entry(finding.kind).or_default() += 1;
    }
    if findings.is_empty() {
        println!("tidy: nothing found");
        return Ok(());
    }
    let counts: Vec<String> = counts.iter().map(|(kind, count)| format!("{} {count}", name(*kind))).collect();
    bail!("tidy: {} findings ({})", findings.len(), counts.join(", "));
}

fn name(kind: FindingKind) -> String {
    clap::ValueEnum::to_possible_value(&kind).map_or_else(String::new, |value| value.get_name().to_owned())
}

fn all_findings(repository: &Repository) -> Vec<Finding> {
    let mut findings = Vec::new();
    let trees: Vec<ModuleTree> =
        repository.crates().iter().flat_map(|name| trees(name, repository)).collect();
    for tree in &trees {
        let graph = ImportGraph::new(tree);
        findings.extend(circles::check(tree, &graph));
        findings.extend(layers::check(tree, &graph, &repository.files));
        findings.extend(imports::check(tree, &graph));
        findings.extend(closures::check(tree));
        findings.extend(files::check(tree, &repository.files));
    }
    findings.extend(type_names::check(&trees));
    findings.extend(docs::check(repository));
    for (path, source) in &repository.files {
        findings.extend(width::check(path, source));
        findings.extend(english::check(path, source));
        if path.ends_with("Cargo.toml") {
            findings.extend(dependencies::check(path, source));
        }
    }
    findings
}

/// The module trees of a crate: of its library and of its binary.
fn trees(name: &str, repository: &Repository) -> Vec<ModuleTree> {
    ["lib.rs", "main.rs"]
        .iter()
        .map(|file| format!("crates/{name}/src/{file}"))
        .filter(|root| repository.files.contains_key(root))
        .map(|root| ModuleTree::parse(name, &root, &repository.files))
        .collect()
}
