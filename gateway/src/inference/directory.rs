//! The providers and routes in force, which may change while the server runs. A request uses the same ones from its beginning to
//! its end.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use ipc_proto::gateway::{Backends, GatewayConfig, JudgeSettings, Provider, Routes};

use super::names::Names;

/// The providers and routes in force: those of the settings, and those of the database.
#[derive(Debug, Clone, Default)]
pub struct RoutingTable {
    /// The providers by their names.
    pub providers: BTreeMap<String, OfferedProvider>,
    /// The backends, which only the settings have.
    pub backends: Backends,
    /// The routes as they count, those of the settings first.
    pub routes: Routes,
    /// The bounds of judging.
    pub judge: JudgeSettings,
}

/// A provider whose models clients can name.
#[derive(Debug, Clone)]
pub struct OfferedProvider {
    /// Its settings, with its key.
    pub provider: Provider,
    /// Why it cannot be asked, if it cannot. Its models are known nevertheless, and requests for them fail for this reason.
    pub problem: Option<String>,
}

impl RoutingTable {
    /// The providers and routes of the settings alone.
    pub fn of_settings(config: &GatewayConfig) -> Self {
        let offered = |provider: &Provider| OfferedProvider { provider: provider.clone(), problem: None };
        let providers = config.providers.iter().map(|(name, one)| (name.to_owned(), offered(one))).collect();
        let routes = config.routes.in_force(&config.roles, &config.judge);
        Self { providers, backends: config.backends.clone(), routes, judge: config.judge.clone() }
    }
}

/// Holds the present names. Cheap to read.
#[derive(Debug, Default)]
pub struct Directory(RwLock<Arc<Names>>);

impl Directory {
    /// A directory of these names.
    pub fn new(names: Names) -> Self {
        Self(RwLock::new(Arc::new(names)))
    }

    /// The names at this moment.
    pub fn now(&self) -> Arc<Names> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the names for requests that begin from now on.
    pub fn replace(&self, names: Names) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(names);
    }
}
