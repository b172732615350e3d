//! All models that clients can name: those of this machine, those of providers, and routes to them.

use ipc_proto::gateway::NamePattern;
use ipc_proto::supervisor::{Capabilities, Details, ModelEntry, ModelState};
use ipc_proto::{Error, ErrorKind, Resource, Result};

use super::write::expand_aliases;
use crate::access::Tenant;
use crate::dispatch::Services;
use crate::inference::names::{ListedModel, Names};

/// The owner of the models of this machine.
const LOCAL: &str = "local";

/// Lists every name of every model. A provider's model is left out where a model of this machine has its name. A route has the
/// properties of its first model that is there. A route for the beginning of names has no name to list. A sender sees only the names that its
/// key may ask for, and no provider's if the key is local only.
///
/// # Errors
/// Returns an error if the supervisor does not answer.
pub async fn all(services: &Services, sender: &Tenant) -> Result<Vec<ModelEntry>> {
    let mut models = expand_aliases(services.catalogue.models().await?);
    let names = services.names.now();
    let elsewhere = names.listed().into_iter();
    let elsewhere = elsewhere.filter(|(name, _)| !models.iter().any(|entry| entry.id == *name));
    let elsewhere: Vec<ModelEntry> = elsewhere.map(|(name, listed)| entry(name, listed)).collect();
    models.extend(elsewhere);
    for route in names.routes().iter() {
        let Some(NamePattern::Exactly(name)) = &route.model else { continue };
        let first = route.models().find_map(|model| models.iter().find(|entry| entry.id == model));
        if let Some(first) = first.filter(|_| !models.iter().any(|entry| entry.id == *name)) {
            models.push(ModelEntry { id: name.clone(), ..first.clone() });
        }
    }
    models.retain(|entry| sender.may_use(&entry.id) && is_within_reach(&names, sender, entry));
    Ok(models)
}

/// Whether a model may answer the sender: one of this machine, or any if the key is not local only.
fn is_within_reach(names: &Names, sender: &Tenant, entry: &ModelEntry) -> bool {
    let is_here = || owner_in(names, entry) == LOCAL || names.is_managed(names.first_target(&entry.id));
    !sender.is_local_only() || is_here() || has_local_target(names, entry)
}

/// Whether a model of this machine may answer for a route.
fn has_local_target(names: &Names, entry: &ModelEntry) -> bool {
    names.routes_of(&entry.id).any(|route| route.models().any(|target| names.may_be_here(target)))
}

/// Returns the model of this name.
///
/// # Errors
/// Returns an error if there is none, or the supervisor does not answer.
pub async fn one(services: &Services, name: &str) -> Result<ModelEntry> {
    let names = services.names.now();
    let mut absent = missing(name);
    for (place, target) in names.candidates(name).into_iter().enumerate() {
        match services.catalogue.model(target).await {
            Err(error) if error.kind == ErrorKind::NotFound(Resource::Model) => {
                if let Some(listed) = names.find(target) {
                    return Ok(entry(target, listed));
                }
                if place == 0 {
                    absent = error;
                }
            }
            found => return found,
        }
    }
    Err(absent)
}

/// Returns the model of this name if the sender finds it in the list, too.
///
/// # Errors
/// As [`one`], and if the sender may not use the name.
pub async fn listed(services: &Services, name: &str, sender: &Tenant) -> Result<ModelEntry> {
    sender.check_model(name)?;
    let found = one(services, name).await?;
    // A route's entry has the name of its first model, by which the route is not found.
    let named = ModelEntry { id: name.to_owned(), ..found.clone() };
    let is_listed = !found.details.unserved && is_within_reach(&services.names.now(), sender, &named);
    if is_listed { Ok(found) } else { Err(missing(name)) }
}

/// The error for a model that the sender does not find.
fn missing(name: &str) -> Error {
    let text = format!("the model \"{name}\" does not exist; GET /v1/models lists those that do");
    Error::not_found(Resource::Model, text).with_field("model")
}

/// Returns the provider that answers for a listed model; `local` if this machine does.
pub fn owner(services: &Services, entry: &ModelEntry) -> String {
    owner_in(&services.names.now(), entry)
}

fn owner_in(names: &Names, entry: &ModelEntry) -> String {
    // A model of this machine has a folder, also if a provider has one of the same name.
    let is_local = !entry.details.folder.as_os_str().is_empty();
    let provider =
        names.candidates(&entry.id).into_iter().find_map(|name| names.find(name)).filter(|_| !is_local);
    provider.map_or_else(|| LOCAL.to_owned(), |listed| listed.provider.clone())
}

/// Describes a provider's model as far as the settings do.
fn entry(name: &str, listed: &ListedModel) -> ModelEntry {
    let context = listed.model.context;
    // Images are passed on. A model that reads none is the provider's to refuse.
    let capabilities = Capabilities { chat: true, tools: true, vision: true, ..Capabilities::default() };
    ModelEntry {
        id: name.to_owned(),
        state: ModelState::Ready,
        context,
        details: Details { context, capabilities, ..Details::default() },
        ..ModelEntry::default()
    }
}
