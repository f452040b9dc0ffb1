//! Configurations of commands, and the released weights that they refer to.

use anyhow::Result;
use fineline_hub::{HubError, ModelAddress, find_model};
use fineline_run::config::Resolved;
use fineline_run::start::FetchedWeights;

use crate::args::ConfigArgs;

/// Loads and resolves the configuration of a command.
pub(crate) fn load(args: &ConfigArgs) -> Result<Resolved> {
    Ok(Resolved::load(&args.config, &args.overrides)?)
}

/// Returns the downloaded Hub model that `init.from` refers to, if any. Doesn't connect to the Hub.
pub(crate) fn fetched_weights(resolved: &Resolved) -> Result<Option<FetchedWeights>> {
    let Some(init) = resolved.config.init.as_ref().filter(|init| ModelAddress::is_one(&init.from)) else {
        return Ok(None);
    };
    let address: ModelAddress =
        init.from.parse().map_err(|error: HubError| resolved.invalid("init.from", error.to_string()))?;
    match find_model(&address, &init.models_dir) {
        Ok((dir, model)) => Ok(Some(FetchedWeights { dir, commit: model.commit })),
        // If the weights are needed, the run fails with an error that says how to download them.
        Err(HubError::NotFetched { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
