//! Documentation names only links, paths, commands and configuration keys that exist.

// A page
mod markdown;

// What it names
mod commands;
mod keys;
mod links;

use std::collections::BTreeMap;
use std::path::Path;

use self::commands::Reference;
use self::keys::Schema;
use self::markdown::Page;
use crate::source::finding::{Finding, FindingKind};
use crate::source::repository::Repository;

const SCHEMA: &str = "docs/reference/config.schema.json";
const COMMAND_REFERENCE: &str = "docs/reference/cli.md";
/// Names what was, and not only what is.
const HISTORY: &str = "CHANGELOG.md";

pub(crate) fn check(repository: &Repository) -> Vec<Finding> {
    let sources = repository
        .files
        .iter()
        .filter(|(path, _)| Path::new(path).extension().is_some_and(|end| end == "md"));
    let pages: BTreeMap<&str, Page> =
        sources.map(|(path, source)| (path.as_str(), Page::parse(source))).collect();
    let mut findings = Vec::new();
    let schema = repository.files.get(SCHEMA).map(|text| Schema::parse(text));
    if let Some(Err(error)) = &schema {
        findings.push(Finding::new(FindingKind::Docs, SCHEMA, error.line(), error.to_string()));
    }
    let schema = schema.and_then(Result::ok);
    let reference = repository.files.get(COMMAND_REFERENCE).map(|text| Reference::parse(text));
    for (path, page) in &pages {
        let mut found = links::broken_links(path, &pages, &repository.paths);
        if *path != HISTORY {
            found.extend(links::broken_paths(page, &repository.paths));
            found.extend(schema.iter().flat_map(|schema| keys::unknown_keys(page, schema)));
            found.extend(reference.iter().flat_map(|reference| commands::unknown_commands(page, reference)));
        }
        findings.extend(
            found.into_iter().map(|(line, message)| Finding::new(FindingKind::Docs, path, line, message)),
        );
    }
    findings
}
