//! The names besides those of local models: those of providers' models, and routes.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::HeaderName;
use ipc_proto::gateway::{NamePattern, ProviderKind, ProviderModel, Route, Routes};

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
}

/// A provider's model.
#[derive(Debug, Clone)]
pub struct ListedModel {
    /// The provider's name.
    pub provider: String,
    /// The provider's protocol.
    pub protocol: WireProtocol,
    /// The model there.
    pub model: ProviderModel,
}

impl Names {
    /// The names of these providers and routes. A provider's model is named `provider/id`, and by its alias.
    pub fn new(table: &RoutingTable) -> Self {
        let headers = table.routes.iter().flat_map(|route| route.headers.keys());
        let headers = headers.filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok()).collect();
        let mut all = Self { routes: table.routes.clone(), headers, ..Self::default() };
        for (name, offered) in &table.providers {
            all.providers.push(name.to_owned());
            let provider = &offered.provider;
            let protocol = match provider.kind {
                ProviderKind::Anthropic => WireProtocol::Messages,
                ProviderKind::Openai | ProviderKind::OpenaiCompatible => WireProtocol::Chat,
            };
            for model in &provider.models {
                let listed = ListedModel { provider: name.to_owned(), protocol, model: model.clone() };
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

    /// Whether there is a provider.
    pub fn has_providers(&self) -> bool {
        !self.providers.is_empty()
    }

    /// Whether a provider that speaks `protocol` may answer for a name.
    pub fn passes(&self, name: &str, protocol: WireProtocol) -> bool {
        let speaks = |name: &str| self.find(name).is_some_and(|listed| listed.protocol == protocol);
        speaks(name) || self.routes_of(name).any(|route| route.models().any(speaks))
    }

    /// Whether neither a provider nor a route has a name: it can only be that of a model of this machine.
    pub fn is_plain(&self, name: &str) -> bool {
        self.routes_of(name).next().is_none() && self.find(name).is_none() && self.provider_of(name).is_none()
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
        let is_named = |route: &Route| matches!(&route.model, Some(NamePattern::Exactly(own)) if own == name);
        let mut routes = self.routes.iter();
        let route = routes.find(|route| (route.is_unconditional() && route.takes(name)) || is_named(route));
        route.and_then(|route| route.models().next()).unwrap_or(name)
    }

    /// All names of providers' models, sorted.
    pub fn listed(&self) -> Vec<(&str, &ListedModel)> {
        let mut all: Vec<_> = self.by_name.iter().map(|(name, model)| (name.as_str(), model)).collect();
        all.sort_by_key(|(name, _)| *name);
        all
    }
}
