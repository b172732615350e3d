//! The providers and routes in force: those of the settings, and those of the database, which may change while the server runs.
//!
//! Each change counts up a revision in the database. A running gateway polls it twice a second, and so notices the changes of
//! the command line and of another gateway. Its own changes are in force at once.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use ipc_proto::gateway::{
    Backends, GatewayConfig, JudgeSettings, Provider, Providers, References, Roles, Route, RouteFault, Routes,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::access::secret;
use crate::inference::directory::{OfferedProvider, RoutingTable};
use crate::secrets::keyring::{Keyring, KeyringError};
use crate::secrets::{self, KeyId, Location};
use crate::store::routing::{ProviderRow, StoredRouting};
use crate::store::{Db, DbError};

mod records;
mod rotation;

pub use records::{Loaded, ProviderRecord, ProviderSource};
pub use rotation::Rotated;

/// The time that a starting gateway waits for the database, so that its first requests know all providers.
const FIRST_LOAD: Duration = Duration::from_millis(1500);
/// Pause between two reads of the revision.
const POLL_INTERVAL: Duration = Duration::from_millis(500);
/// Pause after the database has refused.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);
/// Reads of the revision between two attempts to read API keys that could not be read: the master key may be back.
const POLLS_PER_KEY_RETRY: u32 = 10;
/// Characters of an API key from which on a list shows its end.
const LONG_KEY: usize = 12;

/// The place of providers' keys in the database.
fn location(provider: &str) -> Location<'_> {
    Location { table: "providers", row: provider, column: "sealed_key" }
}

/// Why a change is refused.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// The database refuses.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The master key cannot be used.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// There is no such provider.
    #[error("there is no provider \"{0}\"")]
    Missing(String),
    /// A name is taken, or the thing stands in `config.toml`.
    #[error("{0}")]
    Conflict(String),
    /// The routes have changed since the client read them.
    #[error("the routes have changed meanwhile: their revision is {0}; read them again")]
    Stale(i64),
    /// A field is wrong.
    #[error("{problem}")]
    Invalid {
        /// The field, by its path.
        field: String,
        /// The problem, with the field.
        problem: String,
    },
}

/// A change of a provider's API key.
#[derive(Debug)]
pub enum KeyChange {
    /// It stays.
    Keep,
    /// It is replaced, or removed.
    Set(Option<SecretString>),
}

/// Takes over providers and routes.
type Publish = Box<dyn Fn(RoutingTable) + Send + Sync>;

/// The providers and routes of one home folder.
pub struct RoutingStore {
    db: Db,
    keyring: Keyring,
    /// Those of the settings.
    providers: Providers,
    backends: Backends,
    routes: Routes,
    roles: Roles,
    judge: JudgeSettings,
    publish: Publish,
    /// Held while they are read, so that an older reading never replaces a newer one.
    applied: Mutex<Applied>,
}

/// The last reading.
#[derive(Debug, Clone, Copy, Default)]
struct Applied {
    revision: Option<i64>,
    /// Whether an API key could not be read.
    has_unreadable: bool,
}

impl RoutingStore {
    /// The store of `home`. `publish` gets all providers and routes whenever they are read.
    pub fn new(
        db: Db,
        home: &Path,
        config: &GatewayConfig,
        publish: impl Fn(RoutingTable) + Send + Sync + 'static,
    ) -> Self {
        Self {
            db,
            keyring: Keyring::new(config.master_key.clone(), &config.master_key_command, home),
            providers: config.providers.clone(),
            backends: config.backends.clone(),
            routes: config.routes.clone(),
            roles: config.roles.clone(),
            judge: config.judge.clone(),
            publish: Box::new(publish),
            applied: Mutex::default(),
        }
    }

    /// The store of `home`, which publishes changes from now on. Waits a moment for the first reading. Needs a runtime.
    pub async fn start(
        db: Db,
        home: &Path,
        config: &GatewayConfig,
        publish: impl Fn(RoutingTable) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let this = Arc::new(Self::new(db, home, config, publish));
        let problem = match timeout(FIRST_LOAD, this.reload()).await {
            Ok(read) => read.err().map(|error| error.to_string()),
            Err(_) => Some("the database is not open yet".into()),
        };
        if let Some(problem) = problem {
            tracing::error!(
                problem,
                "until they can be read, providers and routes of the database are missing"
            );
        }
        tokio::spawn(Arc::clone(&this).run());
        this
    }

    /// Publishes the changes of other processes; never returns.
    async fn run(self: Arc<Self>) {
        let (mut polls, mut has_failed) = (0u32, false);
        loop {
            tokio::time::sleep(if has_failed { RETRY_INTERVAL } else { POLL_INTERVAL }).await;
            polls = polls.wrapping_add(1);
            let polled = self.reload_if_changed(polls.is_multiple_of(POLLS_PER_KEY_RETRY)).await;
            if let Err(error) = &polled
                && !has_failed
            {
                tracing::error!(%error, "providers and routes of the database cannot be read");
            }
            has_failed = polled.is_err();
        }
    }

    async fn reload_if_changed(&self, tries_keys: bool) -> Result<(), RoutingError> {
        let now = self.db.routing_revision().await?;
        let applied = *self.applied.lock().await;
        if applied.revision != Some(now) || (applied.has_unreadable && tries_keys) {
            self.reload().await?;
        }
        Ok(())
    }

    /// Reads and publishes all providers and routes.
    ///
    /// # Errors
    /// The database refuses, or holds something that this version does not know. Those in force stay.
    pub async fn reload(&self) -> Result<Loaded, RoutingError> {
        let mut applied = self.applied.lock().await;
        let loaded = self.load().await?;
        (self.publish)(self.table(&loaded));
        let has_unreadable = loaded.has_unreadable();
        if has_unreadable && !applied.has_unreadable {
            for problem in loaded.providers.iter().filter_map(|one| Some((&one.name, one.problem.as_ref()?)))
            {
                tracing::error!(provider = problem.0, problem = problem.1, "a provider cannot be asked");
            }
        }
        *applied = Applied { revision: Some(loaded.revision), has_unreadable };
        Ok(loaded)
    }

    /// Reads all providers and routes.
    ///
    /// # Errors
    /// As [`Self::reload`].
    pub async fn load(&self) -> Result<Loaded, RoutingError> {
        loop {
            let stored = self.db.routing().await?;
            let loaded = records::read((&self.providers, &self.backends), &stored, &self.keyring.read())?;
            // The secrets may have been sealed anew between the two readings.
            if !loaded.has_unreadable() || self.db.routing_revision().await? == stored.revision {
                return Ok(loaded);
            }
        }
    }

    /// The providers and routes in force.
    pub fn table(&self, loaded: &Loaded) -> RoutingTable {
        let offered = loaded.providers.iter().filter(|one| one.is_offered).map(|one| {
            (
                one.name.clone(),
                OfferedProvider { provider: one.provider.clone(), problem: one.problem.clone() },
            )
        });
        let routes = self.routes.followed_by(&loaded.routes).in_force(&self.roles, &self.judge);
        let (backends, judge) = (self.backends.clone(), self.judge.clone());
        RoutingTable { providers: offered.collect(), backends, routes, judge }
    }

    /// The routes of the settings.
    pub fn configured_routes(&self) -> &Routes {
        &self.routes
    }

    /// The provider of this name.
    ///
    /// # Errors
    /// There is none; the database refuses.
    pub async fn get(&self, name: &str) -> Result<ProviderRecord, RoutingError> {
        self.load().await?.take(name)
    }

    /// Adds a provider with its API key.
    ///
    /// # Errors
    /// The name or an alias is taken, a field is wrong, the database or the master key refuses.
    pub async fn add(
        &self,
        name: &str,
        provider: &Provider,
        enabled: bool,
    ) -> Result<ProviderRecord, RoutingError> {
        check(name, provider)?;
        self.refuse_configured(name)?;
        let mut change = self.db.change_routing().await?;
        let stored = change.read().await?;
        if stored.providers.iter().any(|row| row.name == name) {
            return Err(RoutingError::Conflict(format!("there is a provider \"{name}\" already")));
        }
        self.check_aliases(&stored, name, provider)?;
        let now = Utc::now().timestamp();
        let document = document(provider)?;
        let row = ProviderRow {
            name: name.to_owned(),
            document,
            sealed_key: None,
            last_four: None,
            enabled,
            created_at: now,
            updated_at: now,
        };
        change.put_provider(&self.sealed(row, provider.api_key.as_ref(), &stored)?).await?;
        change.commit().await?;
        self.reload().await?.take(name)
    }

    /// Replaces a provider's settings.
    ///
    /// # Errors
    /// As [`Self::add`], and if there is no such provider.
    pub async fn replace(
        &self,
        name: &str,
        provider: &Provider,
        (key, enabled): (KeyChange, bool),
    ) -> Result<ProviderRecord, RoutingError> {
        check(name, provider)?;
        let edit = |row: ProviderRow, stored: &StoredRouting| {
            self.check_aliases(stored, name, provider)?;
            let row = ProviderRow { document: document(provider)?, enabled, ..row };
            match key {
                KeyChange::Keep => Ok(row),
                KeyChange::Set(key) => self.sealed(row, key.as_ref(), stored),
            }
        };
        self.alter(name, edit).await
    }

    /// Offers a provider's models, or no longer.
    ///
    /// # Errors
    /// There is no such provider in the database; the database refuses.
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<ProviderRecord, RoutingError> {
        self.alter(name, |row, _| Ok(ProviderRow { enabled, ..row })).await
    }

    /// Replaces or removes a provider's API key.
    ///
    /// # Errors
    /// There is no such provider in the database; the database or the master key refuses.
    pub async fn set_key(
        &self,
        name: &str,
        key: Option<&SecretString>,
    ) -> Result<ProviderRecord, RoutingError> {
        self.alter(name, |row, stored| self.sealed(row, key, stored)).await
    }

    /// Removes a provider. Requests that it answers go on.
    ///
    /// # Errors
    /// There is no such provider in the database; the database refuses.
    pub async fn remove(&self, name: &str) -> Result<ProviderRecord, RoutingError> {
        self.refuse_configured(name)?;
        let removed = self.get(name).await?;
        let mut change = self.db.change_routing().await?;
        change.remove_provider(name).await?;
        change.commit().await?;
        self.reload().await?;
        Ok(removed)
    }

    /// Replaces all routes of the database.
    ///
    /// # Errors
    /// A route is wrong, the routes are not of the `expected` revision, or the database refuses.
    pub async fn set_routes(
        &self,
        routes: Vec<Route>,
        expected: Option<i64>,
    ) -> Result<Loaded, RoutingError> {
        let before = self.routes.len();
        let all = self.routes.iter().cloned().chain(routes).collect();
        let invalid = |fault: RouteFault| {
            let mut field = format!("routes[{}]", fault.place.saturating_sub(before));
            let problem = match fault.field() {
                Some(_) => format!("{field}.{}", fault.problem),
                None => format!("{field}: {}", fault.problem),
            };
            field.extend(fault.field().map(|name| format!(".{name}")));
            RoutingError::Invalid { field, problem }
        };
        let all = Routes::new(all).map_err(invalid)?;
        let own: Vec<&Route> = all.iter().skip(before).collect();
        let text = serde_json::to_string(&own).map_err(records::unwritable)?;
        let mut change = self.db.change_routing().await?;
        let stored = change.read().await?;
        let providers = self.providers_with(&stored, "")?;
        let Self { roles, judge, backends, .. } = self;
        let references = References { roles, judge, providers: &providers, backends };
        all.check_references(&references, before).map_err(invalid)?;
        let revision = stored.routes_revision;
        if expected.is_some_and(|expected| expected != revision) {
            return Err(RoutingError::Stale(revision));
        }
        change.set_routes(&text).await?;
        change.commit().await?;
        self.reload().await
    }

    /// Changes the row of a provider.
    async fn alter(
        &self,
        name: &str,
        edit: impl FnOnce(ProviderRow, &StoredRouting) -> Result<ProviderRow, RoutingError>,
    ) -> Result<ProviderRecord, RoutingError> {
        self.refuse_configured(name)?;
        let mut change = self.db.change_routing().await?;
        let stored = change.read().await?;
        let row = stored.providers.iter().find(|row| row.name == name).cloned();
        let row = row.ok_or_else(|| RoutingError::Missing(name.to_owned()))?;
        let row = edit(row, &stored)?;
        change.put_provider(&ProviderRow { updated_at: Utc::now().timestamp(), ..row }).await?;
        change.commit().await?;
        self.reload().await?.take(name)
    }

    fn refuse_configured(&self, name: &str) -> Result<(), RoutingError> {
        if self.providers.get(name).is_some() {
            return Err(RoutingError::Conflict(format!(
                "the provider \"{name}\" stands in config.toml: change it there, under [providers.{name}], and restart"
            )));
        }
        if self.backends.get(name).is_some() {
            return Err(RoutingError::Conflict(format!(
                "config.toml has a backend \"{name}\": give the provider another name"
            )));
        }
        Ok(())
    }

    /// Refuses an alias that another provider has.
    fn check_aliases(
        &self,
        stored: &StoredRouting,
        name: &str,
        provider: &Provider,
    ) -> Result<(), RoutingError> {
        let all = self.providers_with(stored, name)?;
        all.with(name, provider.clone()).map(drop).map_err(RoutingError::Conflict)
    }

    /// The providers of the settings and those of the database, but for the one of the database that is named `except`.
    fn providers_with(&self, stored: &StoredRouting, except: &str) -> Result<Providers, RoutingError> {
        let mut all = self.providers.clone();
        for row in stored.providers.iter().filter(|row| row.name != except) {
            let other = records::parse(&row.document)?;
            // One that is in conflict itself is not in force.
            all = all.with(&row.name, other).unwrap_or(all);
        }
        Ok(all)
    }

    /// The row with this API key.
    fn sealed(
        &self,
        row: ProviderRow,
        key: Option<&SecretString>,
        stored: &StoredRouting,
    ) -> Result<ProviderRow, RoutingError> {
        let Some(key) = key else { return Ok(ProviderRow { sealed_key: None, last_four: None, ..row }) };
        self.keyring.repair(&sealing_keys(stored))?;
        let others = stored.providers.iter().filter(|one| one.sealed_key.is_some() && one.name != row.name);
        let others: Vec<&str> = others.map(|one| &*one.name).collect();
        let at_hand = self.keyring.read();
        // A new master key beside one that is lost would hide the loss.
        if at_hand.present().is_none() && !others.is_empty() {
            let text = format!(
                "the master key is missing that seals the API keys of {}: put the file master.key back, set MLXD_MASTER_KEY, or \
                 remove these providers",
                others.join(", ")
            );
            return Err(RoutingError::Conflict(text));
        }
        let master = self.keyring.present_or_new()?;
        let sealed = secrets::seal(&master, key, location(&row.name)).map_err(KeyringError::from)?;
        Ok(ProviderRow { sealed_key: Some(sealed), last_four: end_of(key), ..row })
    }
}

/// The ids of the master keys that have sealed something.
fn sealing_keys(stored: &StoredRouting) -> Vec<KeyId> {
    let sealed = stored.providers.iter().filter_map(|row| row.sealed_key.as_deref());
    sealed.filter_map(secrets::sealed_by).collect()
}

/// The end of an API key, by which its owner recognises it. A short key shows nothing.
fn end_of(key: &SecretString) -> Option<String> {
    let key = key.expose_secret();
    (key.chars().count() >= LONG_KEY).then(|| secret::last_four(key))
}

fn check(name: &str, provider: &Provider) -> Result<(), RoutingError> {
    provider.check(name).map_err(|problem| {
        let field = problem.split(':').next().unwrap_or_default().to_owned();
        RoutingError::Invalid { field, problem }
    })
}

/// A provider's settings without its API key, as JSON.
fn document(provider: &Provider) -> Result<String, RoutingError> {
    let keyless = Provider { api_key: None, api_key_env: None, ..provider.clone() };
    serde_json::to_string(&keyless).map_err(records::unwritable)
}

#[cfg(test)]
mod tests;
