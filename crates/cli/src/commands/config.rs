//! `fineline config`: configurations shown, checked and compared.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::Result;
use fineline_run::config::{Resolved, file_schema, reference_markdown};
use fineline_run::start;
use serde_json::json;

use crate::args::ConfigArgs;
use crate::configuration::{fetched_weights, load};
use crate::console::Console;
use crate::output::{print, print_json};

/// `fineline config show`
pub(crate) fn show(args: &ConfigArgs, as_json: bool) -> Result<()> {
    let resolved = load(args)?;
    if !as_json {
        return print(&resolved.to_annotated_toml());
    }
    let origins: BTreeMap<String, String> =
        resolved.origins().into_iter().map(|(key, (_, origin))| (key, origin.to_string())).collect();
    print_json(
        &json!({ "hash": resolved.config.hash(), "config": resolved.config.to_values(), "origins": origins }),
    )
}

/// `fineline config check`
pub(crate) fn check(args: &ConfigArgs) -> Result<()> {
    let resolved = load(args)?;
    let fetched = fetched_weights(&resolved)?;
    let mut console = Console::new();
    let checked = start::check(&resolved, fetched.as_ref(), &mut |progress| console.show(progress));
    console.finish();
    checked?;
    print(&format!("{}: valid; hash {}\n", args.config.display(), &resolved.config.hash()[..16]))
}

/// `fineline config diff`
pub(crate) fn diff(left: &Path, right: &Path) -> Result<()> {
    let differences = Resolved::load(left, &[])?.config.differences(&Resolved::load(right, &[])?.config);
    let mut text = String::new();
    for difference in &differences {
        for (sign, value) in [('-', &difference.left), ('+', &difference.right)] {
            if let Some(value) = value {
                writeln!(text, "{sign} {} = {value}", difference.key)?;
            }
        }
    }
    print(&text)
}

/// `fineline config reference`
pub(crate) fn reference(schema: bool) -> Result<()> {
    if schema { print_json(&file_schema()) } else { print(&reference_markdown()) }
}
