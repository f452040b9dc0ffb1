use anyhow::{Result, bail};
use fineline_hub::{FetchedModel, Hub, HubConfig, HubError, Known, Outcome, fetch_model};
use serde_json::json;

use crate::args::FetchWeightsArgs;
use crate::console::Console;
use crate::failure::UsageError;
use crate::output::{grouped, print, print_json};

/// `fineline weights fetch`
pub(crate) fn fetch(args: &FetchWeightsArgs) -> Result<()> {
    let hub = Hub::new(HubConfig::from_env().map_err(usage)?);
    let known_by = if args.verify { Known::ByContent } else { Known::BySize };
    let console = Console::new();
    let (mut lines, mut objects, mut failures) = (String::new(), Vec::new(), 0);
    for address in &args.models {
        let fetched = fetch_model(&hub, address, &args.out, known_by, &mut |file, bytes, of| {
            console.announce(format!("{address}: {file}, {} of {} bytes", grouped(bytes), grouped(of)));
        });
        match fetched {
            Ok((folder, model, outcome)) => {
                lines.push_str(&line(&folder.display().to_string(), &model, outcome));
                objects.push(json!({ "folder": folder, "outcome": word(outcome), "model": model }));
            }
            // The others may be there.
            Err(error) if args.models.len() > 1 => {
                console.note(&format!("{address}: {error}"));
                failures += 1;
            }
            Err(error) => {
                console.finish();
                return Err(usage(error));
            }
        }
    }
    console.finish();
    if args.json {
        print_json(&json!({ "models": objects }))?;
    } else {
        print(&lines)?;
    }
    if failures > 0 {
        bail!(
            "{failures} of {} models couldn't be fetched; the same command again fetches only these",
            args.models.len()
        );
    }
    Ok(())
}

fn line(folder: &str, model: &FetchedModel, outcome: Outcome) -> String {
    let bytes: u64 = model.files.iter().map(|file| file.size).sum();
    let commit: String = model.commit.chars().take(8).collect();
    format!(
        "{folder}: {} at {commit}, {} files, {} bytes, {}\n",
        model.repository,
        model.files.len(),
        grouped(bytes),
        word(outcome)
    )
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Fetched => "fetched",
        Outcome::Kept => "there already",
    }
}

/// Whether it is the arguments that are wrong.
fn usage(error: HubError) -> anyhow::Error {
    match error {
        HubError::Environment { .. }
        | HubError::Name { .. }
        | HubError::NoRevision { .. }
        | HubError::NoWeights { .. } => UsageError(error.to_string()).into(),
        _ => error.into(),
    }
}
