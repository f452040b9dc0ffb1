//! `fineline weights fetch`: models from the Hugging Face Hub.

use anyhow::{Result, bail};
use fineline_hub::{FetchOutcome, FetchedModel, Hub, HubConfig, ModelCheck, fetch_model};
use serde_json::json;

use crate::args::FetchWeightsArgs;
use crate::console::Console;
use crate::output::{grouped, print, print_json};

/// `fineline weights fetch`
pub(crate) fn fetch(args: &FetchWeightsArgs) -> Result<()> {
    let hub = Hub::new(HubConfig::from_env()?);
    let known_by = if args.verify { ModelCheck::ByContent } else { ModelCheck::BySize };
    let console = Console::new();
    let (mut lines, mut objects, mut failures) = (String::new(), Vec::new(), 0);
    for address in &args.models {
        let fetched = fetch_model(&hub, address, &args.out, known_by, &mut |file, bytes, of| {
            console.announce(format!("{address}: {file}, {} of {} bytes", grouped(bytes), grouped(of)));
        });
        match fetched {
            Ok((dir, model, outcome)) => {
                lines.push_str(&format_model(&dir.display().to_string(), &model, outcome));
                objects.push(json!({ "dir": dir, "outcome": outcome_name(outcome), "model": model }));
            }
            // The other models may still be available.
            Err(error) if args.models.len() > 1 => {
                console.note(&format!("{address}: {error}"));
                failures += 1;
            }
            Err(error) => {
                console.finish();
                return Err(error.into());
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
            "{failures} of {} models couldn't be downloaded; the same command downloads only those",
            args.models.len()
        );
    }
    Ok(())
}

fn format_model(dir: &str, model: &FetchedModel, outcome: FetchOutcome) -> String {
    let bytes: u64 = model.files.iter().map(|file| file.size).sum();
    let commit: String = model.commit.chars().take(8).collect();
    format!(
        "{dir}: {} at {commit}, {} files, {} bytes, {}\n",
        model.repository,
        model.files.len(),
        grouped(bytes),
        outcome_name(outcome)
    )
}

fn outcome_name(outcome: FetchOutcome) -> &'static str {
    match outcome {
        FetchOutcome::Fetched => "downloaded",
        FetchOutcome::UpToDate => "up to date",
    }
}
