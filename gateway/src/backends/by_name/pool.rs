//! The providers in force. They may change while the server runs.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ipc_proto::gateway::{Backends, GatewayConfig};
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Result};

use crate::backends::providers::ProviderBackend;
use crate::inference::directory::{Directory, OfferedProvider, RoutingTable};
use crate::inference::names::Names;

/// The providers by their names.
pub(super) type Slots = HashMap<String, Slot>;

/// Holds the providers in force, and the names of their models.
pub struct ProviderPool {
    directory: Arc<Directory>,
    slots: RwLock<Arc<Slots>>,
    managed: Backends,
}

/// One provider.
#[derive(Clone)]
pub(super) struct Slot {
    offered: OfferedProvider,
    /// The backend, or the reason why there is none.
    backend: Result<Arc<ProviderBackend>, String>,
}

impl Slot {
    /// A provider that goes on with the use of the one `before` it.
    fn new(name: &str, offered: OfferedProvider, before: Option<&Self>) -> Self {
        let before = before.and_then(|slot| slot.backend.as_ref().ok());
        let backend = match &offered.problem {
            Some(problem) => Err(problem.clone()),
            None => ProviderBackend::new(name, &offered.provider)
                .map(|backend| Arc::new(backend.after(before.map(|before| &**before))))
                .map_err(|problem| format!("{problem:#}")),
        };
        Self { offered, backend }
    }

    /// The backend of this provider.
    ///
    /// # Errors
    /// It cannot be asked, for example because its key cannot be read.
    pub(super) fn backend(&self, name: &str) -> Result<&Arc<ProviderBackend>> {
        self.backend.as_ref().map_err(|problem| {
            let text = format!("the provider {name} cannot be asked: {problem}");
            Error::new(ErrorKind::Unavailable, Origin::Gateway, text).with_disposition(Disposition::Final)
        })
    }

    fn is_for(&self, offered: &OfferedProvider) -> bool {
        (&self.offered.provider, &self.offered.problem) == (&offered.provider, &offered.problem)
    }
}

impl ProviderPool {
    /// The providers and routes of the settings.
    ///
    /// # Errors
    /// A provider's address is not allowed, or its HTTP client cannot be set up.
    pub fn new(config: &GatewayConfig) -> anyhow::Result<Arc<Self>> {
        let (directory, slots) = <_>::default();
        let pool = Self { directory, slots, managed: config.backends.clone() };
        pool.apply(RoutingTable::of_settings(config));
        let slots = pool.slots();
        let mut problems = slots.values().filter_map(|slot| slot.backend.as_ref().err());
        match problems.next() {
            Some(problem) => anyhow::bail!("{problem}"),
            None => Ok(Arc::new(pool)),
        }
    }

    /// The names of the providers' models, and the routes.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// The backends of the settings.
    pub(super) fn managed(&self) -> &Backends {
        &self.managed
    }

    /// Replaces the providers and routes for requests that begin from now on. A provider that stays as it was keeps its
    /// connections and its count of failures. Requests that run keep the provider that answers them.
    pub fn apply(&self, table: RoutingTable) {
        let before = self.slots();
        let names = Names::new(&table);
        let slot = |(name, offered): (String, OfferedProvider)| {
            let earlier = before.get(&name);
            let kept = earlier.filter(|slot| slot.is_for(&offered));
            let slot = kept.map_or_else(|| Slot::new(&name, offered, earlier), Slot::clone);
            (name, slot)
        };
        let slots: Slots = table.providers.into_iter().map(slot).collect();
        *self.slots.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(slots);
        self.directory.replace(names);
    }

    /// The backends of the providers that can be asked.
    pub(super) fn backends(&self) -> Vec<Arc<ProviderBackend>> {
        self.slots().values().filter_map(|slot| slot.backend.as_ref().ok().cloned()).collect()
    }

    /// The providers at this moment.
    pub(super) fn slots(&self) -> Arc<Slots> {
        Arc::clone(&self.slots.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table(providers: &serde_json::Value) -> RoutingTable {
        let providers = serde_json::from_value(providers.clone()).unwrap();
        RoutingTable::of_settings(&GatewayConfig { providers, ..GatewayConfig::default() })
    }

    fn provider(model: &str) -> serde_json::Value {
        json!({"kind": "openai", "url": "http://127.0.0.1:9", "api_key": "sk-1", "models": [model]})
    }

    #[test]
    fn unchanged_provider_keeps_its_backend() {
        let pool = ProviderPool::new(&GatewayConfig::default()).unwrap();
        pool.apply(table(&json!({"same": provider("m"), "changed": provider("m"), "gone": provider("m")})));
        let before = pool.slots();
        let mut other = provider("m");
        other["api_key"] = "sk-2".into();
        pool.apply(table(&json!({"same": provider("m"), "changed": other, "new": provider("m")})));
        let after = pool.slots();
        let backend = |slots: &Slots, name: &str| Arc::clone(slots[name].backend(name).unwrap());
        assert!(Arc::ptr_eq(&backend(&before, "same"), &backend(&after, "same")));
        assert!(
            !Arc::ptr_eq(&backend(&before, "changed"), &backend(&after, "changed")),
            "it has another key"
        );
        assert!(!after.contains_key("gone"));
        let names = pool.directory().now();
        assert!(names.find("new/m").is_some() && names.find("gone/m").is_none());
    }

    #[test]
    fn provider_with_a_problem_is_known_and_cannot_be_asked() {
        let pool = ProviderPool::new(&GatewayConfig::default()).unwrap();
        let mut broken = table(&json!({"far": provider("m")}));
        broken.providers.get_mut("far").unwrap().problem = Some("its key cannot be read".into());
        pool.apply(broken);
        assert!(pool.directory().now().find("far/m").is_some());
        let error = pool.slots()["far"].backend("far").err().unwrap();
        assert_eq!((error.kind, error.disposition), (ErrorKind::Unavailable, Disposition::Final));
        assert!(error.message.contains("its key cannot be read"), "{error}");
        pool.apply(table(&json!({"far": provider("m")})));
        assert!(pool.slots()["far"].backend("far").is_ok());
    }
}
