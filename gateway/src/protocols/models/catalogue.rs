//! All models that clients can name: those of this machine, and those of providers.

use ipc_proto::supervisor::{Capabilities, Details, ModelEntry, ModelState};
use ipc_proto::{ErrorKind, Resource, Result};

use super::write::expand_aliases;
use crate::dispatch::Services;
use crate::inference::provider_models::ListedModel;

/// Lists every name of every model. A provider's model is left out where a model of this machine has its name.
///
/// # Errors
/// Returns an error if the supervisor does not answer.
pub async fn all(services: &Services) -> Result<Vec<ModelEntry>> {
    let mut models = expand_aliases(services.fleet.models().await?);
    let elsewhere = services.providers.listed().into_iter();
    let elsewhere = elsewhere.filter(|(name, _)| !models.iter().any(|entry| entry.id == *name));
    let elsewhere: Vec<ModelEntry> = elsewhere.map(|(name, listed)| entry(name, listed)).collect();
    models.extend(elsewhere);
    Ok(models)
}

/// Returns the model of this name.
///
/// # Errors
/// Returns an error if there is none, or the supervisor does not answer.
pub async fn one(services: &Services, name: &str) -> Result<ModelEntry> {
    match services.fleet.model(name).await {
        Err(error) if error.kind == ErrorKind::NotFound(Resource::Model) => {
            services.providers.find(name).map(|listed| entry(name, listed)).ok_or(error)
        }
        found => found,
    }
}

/// Describes a provider's model as far as the settings do.
fn entry(name: &str, listed: &ListedModel) -> ModelEntry {
    let context = listed.model.context;
    let capabilities = Capabilities { chat: true, tools: true, ..Capabilities::default() };
    ModelEntry {
        id: name.to_owned(),
        state: ModelState::Ready,
        context,
        details: Details { context, capabilities, ..Details::default() },
        ..ModelEntry::default()
    }
}
