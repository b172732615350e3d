//! All models that clients can name: those of this machine, those of providers, and routes to them.

use ipc_proto::gateway::NamePattern;
use ipc_proto::supervisor::{Capabilities, Details, ModelEntry, ModelState};
use ipc_proto::{ErrorKind, Resource, Result};

use super::write::expand_aliases;
use crate::dispatch::Services;
use crate::inference::names::ListedModel;

/// Lists every name of every model. A provider's model is left out where a model of this machine has its name. A route has the
/// properties of its first model. A route for the beginning of names has no name to list.
///
/// # Errors
/// Returns an error if the supervisor does not answer.
pub async fn all(services: &Services) -> Result<Vec<ModelEntry>> {
    let mut models = expand_aliases(services.catalogue.models().await?);
    let elsewhere = services.names.listed().into_iter();
    let elsewhere = elsewhere.filter(|(name, _)| !models.iter().any(|entry| entry.id == *name));
    let elsewhere: Vec<ModelEntry> = elsewhere.map(|(name, listed)| entry(name, listed)).collect();
    models.extend(elsewhere);
    for route in services.names.routes() {
        let NamePattern::Exactly(name) = &route.model else { continue };
        let first = models.iter().find(|entry| route.targets.first() == Some(&entry.id));
        if let Some(first) = first.filter(|_| !models.iter().any(|entry| entry.id == *name)) {
            models.push(ModelEntry { id: name.clone(), ..first.clone() });
        }
    }
    Ok(models)
}

/// Returns the model of this name.
///
/// # Errors
/// Returns an error if there is none, or the supervisor does not answer.
pub async fn one(services: &Services, name: &str) -> Result<ModelEntry> {
    let target = services.names.first_target(name);
    match services.catalogue.model(target).await {
        Err(error) if error.kind == ErrorKind::NotFound(Resource::Model) => {
            services.names.find(target).map(|listed| entry(target, listed)).ok_or(error)
        }
        found => found,
    }
}

/// Returns the provider that answers for a listed model; `local` if this machine does.
pub fn owner(services: &Services, entry: &ModelEntry) -> String {
    // A model of this machine has a folder, also if a provider has one of the same name.
    let is_local = !entry.details.folder.as_os_str().is_empty();
    let provider = services.names.find(services.names.first_target(&entry.id)).filter(|_| !is_local);
    provider.map_or_else(|| "local".to_owned(), |listed| listed.provider.clone())
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
