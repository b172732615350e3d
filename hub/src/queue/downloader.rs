//! What all downloads share: where the hub is, and the limit of their rate.

use std::sync::Arc;

use ipc_proto::hub::HubConfig;
use secrecy::ExposeSecret;

use super::meter::Meter;
use crate::appraisal;
use crate::cache::Cache;
use crate::client::Hub;
use crate::error::HubError;
use crate::pull::{CONNECTIONS, Limiter, Pull, Pulled, pull};
use crate::settings::{ModelName, Settings};

/// Downloads models.
#[derive(Debug)]
pub(crate) struct Downloader {
    config: HubConfig,
    limiter: Limiter,
}

impl Downloader {
    pub(crate) fn new(config: HubConfig) -> Self {
        let limiter = Limiter::new(config.download_limit);
        Self { config, limiter }
    }

    /// A client of the hub. A token that its user has stored since the last one counts.
    pub(crate) fn hub(&self) -> Result<Hub, HubError> {
        Hub::new(self.settings()?)
    }

    fn settings(&self) -> Result<Settings, HubError> {
        Settings::from_variables(|name| match self.config.variables.get(name) {
            Some(value) => Some(value.expose_secret().to_owned()),
            None => std::env::var(name).ok().filter(|value| !value.is_empty()),
        })
    }

    /// Downloads a model, unless no worker would load it. `force`: also then.
    pub(super) async fn run(
        &self,
        name: ModelName,
        force: bool,
        meter: Arc<Meter>,
    ) -> Result<Pulled, HubError> {
        let hub = self.hub()?;
        if !force && !hub.settings().offline {
            let info = hub.model(&name).await?;
            if let Some(problem) = appraisal::problem(&hub, &info).await? {
                return Err(HubError::NotServed(problem));
            }
        }
        let limiter = self.limiter.clone();
        let order = Pull { name, include: Vec::new(), connections: CONNECTIONS.into(), limiter };
        pull(&hub, &order, &*meter).await
    }

    /// The cache of models.
    pub(crate) fn cache(&self) -> Result<Cache, HubError> {
        Ok(Cache::new(&self.settings()?.cache))
    }

    /// Gives back the room of a model's unfinished download.
    pub(super) fn discard(&self, model: &str) -> Result<u64, HubError> {
        self.cache()?.discard(model)
    }
}
