//! `fineline data fetch`: datasets from the Hugging Face Hub.

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use fineline_hub::{
    DatasetRequest, FetchOutcome, FetchedSplit, Hub, HubConfig, HubError, Repository, fetch_dataset,
};
use fineline_run::prepare::suite_sources;
use fineline_run::probe::{HubSource, TaskSource};

use crate::args::FetchArgs;
use crate::console::Console;
use crate::failure::UsageError;
use crate::messages::print_message;
use crate::output::{grouped, print};
use crate::probe_request::with_flag;

/// `fineline data fetch`
pub(crate) fn fetch(args: &FetchArgs) -> Result<()> {
    let requests = requested_splits(args)?;
    let hub = Hub::new(HubConfig::from_env()?);
    let console = Console::new();
    let (mut failures, mut lines) = (0, String::new());
    for request in &requests {
        let fetched = fetch_dataset(&hub, request, &args.out, &mut |file, bytes, of| {
            console.announce(format!(
                "{}: {file}, {} of {} bytes",
                request.repository,
                grouped(bytes),
                grouped(of)
            ));
        });
        match fetched {
            Ok(fetched) => {
                for (split, outcome) in &fetched.splits {
                    lines.push_str(&format_split(request, split, *outcome));
                }
            }
            // The other splits may still be available.
            Err(error) if requests.len() > 1 => {
                console.note(&format!("{}: {error}", request.repository));
                failures += 1;
            }
            Err(error) => {
                console.finish();
                return Err(error.into());
            }
        }
    }
    console.finish();
    print(&lines)?;
    if failures > 0 {
        bail!(
            "{failures} of {} splits couldn't be downloaded; the same command downloads only those",
            requests.len()
        );
    }
    Ok(())
}

/// Returns the splits to download, each once.
fn requested_splits(args: &FetchArgs) -> Result<BTreeSet<DatasetRequest>> {
    if let Some(name) = &args.dataset {
        let repository = Repository::dataset(name)?;
        let (config, split, revision) = (args.config.clone(), args.split.clone(), args.revision.clone());
        return Ok(BTreeSet::from([DatasetRequest { repository, config, split, revision }]));
    }
    let suite = args.suite.as_deref().unwrap_or_default();
    let sources = suite_sources(suite).map_err(with_flag)?;
    let unavailable: Vec<&str> =
        sources.iter().filter(|source| source.hub.is_none()).map(|source| source.task.as_str()).collect();
    if !unavailable.is_empty() {
        print_message(&format!(
            "not on the Hub in a format that these tasks can read: {}",
            unavailable.join(", ")
        ));
    }
    let mut requests = BTreeSet::new();
    for TaskSource { hub, .. } in &sources {
        for request in hub.iter().map(splits_of_task) {
            requests.extend(request?);
        }
    }
    if requests.is_empty() {
        return Err(
            UsageError(format!("--suite: no task of `{suite}` says where on the Hub its data is")).into()
        );
    }
    Ok(requests)
}

/// Returns the splits that a task needs.
fn splits_of_task(hub: &HubSource) -> Result<Vec<DatasetRequest>, HubError> {
    let repository = Repository::dataset(&hub.repo)?;
    let request = |split: &String| DatasetRequest {
        repository: repository.clone(),
        config: hub.config.clone(),
        split: Some(split.clone()),
        revision: hub.revision.clone(),
    };
    Ok(std::iter::once(&hub.split).chain(&hub.examples).map(request).collect())
}

fn format_split(request: &DatasetRequest, split: &FetchedSplit, outcome: FetchOutcome) -> String {
    let bytes: u64 = split.files.iter().map(|file| file.size).sum();
    let outcome = match outcome {
        FetchOutcome::Fetched => "downloaded",
        FetchOutcome::UpToDate => "up to date",
    };
    let commit: String = split.commit.chars().take(8).collect();
    format!(
        "{} {}/{} at {commit}: {} bytes, {outcome}\n",
        request.repository,
        split.config,
        split.split,
        grouped(bytes)
    )
}
