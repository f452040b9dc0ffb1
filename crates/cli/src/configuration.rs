//! The configuration that a command is given.

use anyhow::Result;
use fineline_hub::{HubError, ModelAddress, find_model};
use fineline_run::config::Resolved;
use fineline_run::released::FetchedWeights;

use crate::args::ConfigArgs;

/// Reads and resolves a configuration.
pub(crate) fn load(args: &ConfigArgs) -> Result<Resolved> {
    Ok(Resolved::load(&args.config, &args.overrides)?)
}

/// The model of the hub that `init.from` means, if it means one and that has been fetched. The hub is not asked.
pub(crate) fn fetched_weights(resolved: &Resolved) -> Result<Option<FetchedWeights>> {
    let Some(init) = resolved.config.init.as_ref().filter(|init| ModelAddress::is_one(&init.from)) else {
        return Ok(None);
    };
    let address: ModelAddress = init
        .from
        .parse()
        .map_err(|error: HubError| resolved.invalid("init.from", format!("can't be read: {error}")))?;
    match find_model(&address, &init.models) {
        Ok((folder, model)) => Ok(Some(FetchedWeights { folder, commit: model.commit })),
        // Where it is needed, the run says how to fetch it.
        Err(HubError::NotFetched { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
