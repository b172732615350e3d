//! The names of providers' models.

use std::collections::HashMap;

use ipc_proto::gateway::{ProviderModel, Providers};

/// The models of all providers, by the names that clients use.
#[derive(Debug, Default)]
pub struct ProviderModels {
    by_name: HashMap<String, ListedModel>,
    providers: Vec<String>,
}

/// A provider's model.
#[derive(Debug, Clone)]
pub struct ListedModel {
    /// The provider's name.
    pub provider: String,
    /// The model there.
    pub model: ProviderModel,
}

impl ProviderModels {
    /// The models that the settings name: each as `provider/id`, and by its alias.
    pub fn new(providers: &Providers) -> Self {
        let mut all = Self::default();
        for (name, provider) in providers.iter() {
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

    /// All names with their models, sorted.
    pub fn listed(&self) -> Vec<(&str, &ListedModel)> {
        let mut all: Vec<_> = self.by_name.iter().map(|(name, model)| (name.as_str(), model)).collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }
}
