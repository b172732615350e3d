//! The names besides those of local models: those of providers' models, and routes.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::HeaderName;
use ipc_proto::gateway::{
    JudgeSettings, ManagedBackend, NamePattern, Prices, ProviderKind, ProviderModel, ROLE_PREFIX, Route,
    Routes,
};

use super::directory::RoutingTable;
use super::original::WireProtocol;

/// The models of all providers by the names that clients use, and the routes.
#[derive(Debug, Default)]
pub struct Names {
    by_name: HashMap<String, ListedModel>,
    providers: Vec<String>,
    routes: Routes,
    /// The headers that conditions name.
    headers: Vec<HeaderName>,
    /// The bounds of judging.
    judge: JudgeSettings,
}

/// A provider's model.
#[derive(Debug, Clone)]
pub struct ListedModel {
    /// The provider's name.
    pub provider: String,
    /// The provider's kind, which says its protocols.
    pub kind: ProviderKind,
    /// The model there.
    pub model: ProviderModel,
    /// Whether the provider is a backend: a program on this machine, which the supervisor starts.
    pub is_managed: bool,
}

impl Names {
    /// The names of these providers, backends and routes. A provider's model is named `provider/id`, and by its alias.
    pub fn new(table: &RoutingTable) -> Self {
        let headers = table.routes.iter().flat_map(|route| route.headers.keys());
        let headers = headers.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
        let (routes, judge) = (table.routes.clone(), table.judge.clone());
        let mut all = Self { routes, headers, judge, ..Self::default() };
        for (name, offered) in &table.providers {
            all.providers.push(name.to_owned());
            let provider = &offered.provider;
            let kind = provider.kind;
            for model in &provider.models {
                let listed =
                    ListedModel { provider: name.to_owned(), kind, model: model.clone(), is_managed: false };
                all.insert(listed);
            }
        }
        // Last: where a provider has the same names, those of the settings count.
        for (name, backend) in table.backends.iter() {
            all.providers.push(name.to_owned());
            let model = managed_model(backend);
            let listed = ListedModel {
                provider: name.to_owned(),
                kind: ProviderKind::OpenaiCompatible,
                model,
                is_managed: true,
            };
            all.insert(listed);
        }
        all
    }

    fn insert(&mut self, listed: ListedModel) {
        if let Some(alias) = &listed.model.alias {
            self.by_name.insert(alias.clone(), listed.clone());
        }
        self.by_name.insert(format!("{}/{}", listed.provider, listed.model.id), listed);
    }

    /// Whether a name is that of a backend's model.
    pub fn is_managed(&self, name: &str) -> bool {
        self.find(name).is_some_and(|listed| listed.is_managed)
    }

    /// Whether a model of this machine may answer for a name: a worker's, or a backend's.
    pub fn may_be_here(&self, name: &str) -> bool {
        match self.find(name) {
            Some(listed) => listed.is_managed,
            None => self.provider_of(name).is_none(),
        }
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

    /// Whether there is a provider.
    pub fn has_providers(&self) -> bool {
        !self.providers.is_empty()
    }

    /// Whether a provider that speaks `protocol` may answer for a name.
    pub fn passes(&self, name: &str, protocol: WireProtocol) -> bool {
        let speaks = |name: &str| self.find(name).is_some_and(|listed| protocol.is_spoken_by(listed.kind));
        speaks(name) || self.routes_of(name).any(|route| route.models().any(speaks))
    }

    /// Whether neither a provider nor a route has a name: it can only be that of a model of this machine.
    pub fn is_plain(&self, name: &str) -> bool {
        self.routes_of(name).next().is_none()
            && self.find(name).is_none()
            && self.provider_of(name).is_none()
            && !name.starts_with(ROLE_PREFIX)
    }

    /// The names of roles, in order.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        let names = self.routes.iter().filter_map(|route| match &route.model {
            Some(NamePattern::Exactly(name)) => Some(name.as_str()),
            _ => None,
        });
        names.filter(|name| name.starts_with(ROLE_PREFIX))
    }

    /// The bounds of judging.
    pub fn judge(&self) -> &JudgeSettings {
        &self.judge
    }

    /// All routes, in order.
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The routes that may apply to a name, in order.
    pub fn routes_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Route> {
        self.routes.iter().filter(move |route| route.takes(name))
    }

    /// The headers that conditions of routes name; `None` if there are no such conditions.
    pub fn routed_headers(&self, all: &HeaderMap) -> Option<Arc<HeaderMap>> {
        if self.headers.is_empty() {
            return None;
        }
        let named = |name: &HeaderName| Some((name.clone(), all.get(name)?.clone()));
        Some(Arc::new(self.headers.iter().filter_map(named).collect()))
    }

    /// The first model that answers for a name where no condition decides: the first of its route, or the name itself.
    pub fn first_target<'a>(&'a self, name: &'a str) -> &'a str {
        self.route_without_conditions(name).and_then(|route| route.models().next()).unwrap_or(name)
    }

    /// The models that may answer for a name where no condition decides, in order: those of its route, or the name itself.
    pub fn candidates<'a>(&'a self, name: &'a str) -> Vec<&'a str> {
        self.route_without_conditions(name).map_or_else(|| vec![name], |route| route.models().collect())
    }

    fn route_without_conditions(&self, name: &str) -> Option<&Route> {
        self.routes.iter().find(|route| (route.is_unconditional() && route.takes(name)) || route.names(name))
    }

    /// All names of providers' models, sorted.
    pub fn listed(&self) -> Vec<(&str, &ListedModel)> {
        let mut all: Vec<_> = self.by_name.iter().map(|(name, model)| (name.as_str(), model)).collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }
}

/// A backend's model as one of a provider.
pub fn managed_model(backend: &ManagedBackend) -> ProviderModel {
    ProviderModel {
        id: backend.short_model().to_owned(),
        alias: backend.alias.clone(),
        context: backend.context,
        max_output: None,
        price: Prices::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_model_is_here_and_hides_a_providers() {
        let config = serde_json::json!({
            "providers": {"far": {"kind": "openai", "url": "http://far.example", "models": [{"id": "m", "alias": "fast"}]}},
            "backends": {"lm": {"preset": "mlx-lm", "model": "/models/m", "memory": "1GiB", "alias": "fast"}},
        });
        let names = Names::new(&RoutingTable::of_settings(&serde_json::from_value(config).unwrap()));
        for here in ["lm/m", "fast"] {
            assert!(names.is_managed(here) && names.may_be_here(here) && !names.is_plain(here), "{here}");
            assert!(names.passes(here, WireProtocol::Chat) && !names.passes(here, WireProtocol::Messages));
        }
        for elsewhere in ["far/m", "far/other", "lm/other"] {
            assert!(!names.is_managed(elsewhere) && !names.may_be_here(elsewhere), "{elsewhere}");
        }
        assert!(names.may_be_here("any"));
    }
}
