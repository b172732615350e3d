//! The names in the settings: those of providers' models, and routes.

use std::collections::HashMap;

use ipc_proto::gateway::{GatewayConfig, ProviderModel, Route, Routes};

/// The models of all providers by the names that clients use, and the routes.
#[derive(Debug, Default)]
pub struct Names {
    by_name: HashMap<String, ListedModel>,
    providers: Vec<String>,
    routes: Routes,
}

/// A provider's model.
#[derive(Debug, Clone)]
pub struct ListedModel {
    /// The provider's name.
    pub provider: String,
    /// The model there.
    pub model: ProviderModel,
}

impl Names {
    /// The names in these settings. A provider's model is named `provider/id`, and by its alias.
    pub fn new(config: &GatewayConfig) -> Self {
        let mut all = Self { routes: config.routes.clone(), ..Self::default() };
        for (name, provider) in config.providers.iter() {
            all.providers.push(name.to_owned());
            for model in &provider.models {
                let listed = ListedModel { provider: name.to_owned(), model: model.clone() };
                if let Some(alias) = &model.alias {
                    all.by_name.insert(alias.clone(), listed.clone());
                }
                all.by_name.insert(format!("{name}/{}", model.id), listed);
            }
        }
        all
    }

    /// The model that a client's name means, if it is one of a provider.
    pub fn find(&self, name: &str) -> Option<&ListedModel> {
        self.by_name.get(name)
    }

    /// The provider before the slash of a name.
    pub fn provider_of(&self, name: &str) -> Option<&str> {
        let (before, _) = name.split_once('/')?;
        self.providers.iter().find(|provider| *provider == before).map(String::as_str)
    }

    /// Whether the settings say nothing about a name: it can only be that of a model of this machine.
    pub fn is_plain(&self, name: &str) -> bool {
        self.route(name).is_none() && self.find(name).is_none() && self.provider_of(name).is_none()
    }

    /// The route of a name, if it has one.
    pub fn route(&self, name: &str) -> Option<&Route> {
        self.routes.find(name)
    }

    /// All routes, in order.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter()
    }

    /// The first model that answers for a name: what its route says, or the name itself.
    pub fn first_target<'a>(&'a self, name: &'a str) -> &'a str {
        let target = self.route(name).and_then(|route| route.targets.first());
        target.map_or(name, String::as_str)
    }

    /// All names of providers' models, sorted.
    pub fn listed(&self) -> Vec<(&str, &ListedModel)> {
        let mut all: Vec<_> = self.by_name.iter().map(|(name, model)| (name.as_str(), model)).collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }
}
