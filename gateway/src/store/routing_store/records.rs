//! Reads the rows of the database: which providers are in force, and which are not and why.

use ipc_proto::gateway::{Backends, Provider, Providers, Route, Routes};
use serde::de::DeserializeOwned;

use super::{RoutingError, end_of, location};
use crate::secrets::keyring::KeysAtHand;
use crate::store::DbError;
use crate::store::routing::{ProviderRow, StoredRouting};

/// All providers, and the routes of the database.
#[derive(Debug)]
pub struct Loaded {
    /// The revision of the database.
    pub revision: i64,
    /// The revision of its routes.
    pub routes_revision: i64,
    /// The providers, sorted by their names.
    pub providers: Vec<ProviderRecord>,
    /// The routes of the database.
    pub routes: Routes,
}

/// A provider. Times are seconds since the epoch.
#[derive(Debug, Clone)]
pub struct ProviderRecord {
    /// Its name.
    pub name: String,
    /// The settings or the database.
    pub source: ProviderSource,
    /// Its settings, with its API key if that can be read.
    pub provider: Provider,
    /// The end of its API key.
    pub last_four: Option<String>,
    /// Whether it has an API key.
    pub has_key: bool,
    /// Whether its models are to be offered.
    pub enabled: bool,
    /// Whether clients can name its models.
    pub is_offered: bool,
    /// Why it cannot be asked.
    pub problem: Option<String>,
    /// Its creation, in seconds since the epoch; `None` in `config.toml`.
    pub created_at: Option<i64>,
    /// Its last change, in seconds since the epoch; `None` in `config.toml`.
    pub updated_at: Option<i64>,
}

/// The place of a provider's definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProviderSource {
    /// In `config.toml`. It is changed there.
    Config,
    /// In the database.
    Database,
}

impl Loaded {
    /// Whether an API key cannot be read.
    pub fn has_unreadable(&self) -> bool {
        self.providers.iter().any(|one| one.has_key && one.provider.api_key.is_none())
    }

    /// The provider of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn take(mut self, name: &str) -> Result<ProviderRecord, RoutingError> {
        let at = self.providers.iter().position(|one| one.name == name);
        at.map(|at| self.providers.swap_remove(at)).ok_or_else(|| RoutingError::Missing(name.to_owned()))
    }
}

/// The providers of the settings and those of the database.
pub(super) fn read(
    (configured, backends): (&Providers, &Backends),
    stored: &StoredRouting,
    keys: &KeysAtHand,
) -> Result<Loaded, RoutingError> {
    let mut in_force = configured.clone();
    let mut providers: Vec<ProviderRecord> =
        configured.iter().map(|(name, provider)| of_settings(name, provider)).collect();
    for row in &stored.providers {
        let mut record = of_row(row, keys)?;
        if configured.get(&row.name).is_some() {
            record.problem = Some("config.toml has a provider of this name, which counts".into());
        } else if backends.get(&row.name).is_some() {
            record.problem = Some("config.toml has a backend of this name, which counts".into());
        } else if row.enabled {
            match in_force.with(&row.name, record.provider.clone()) {
                Ok(all) => (in_force, record.is_offered) = (all, true),
                Err(problem) => record.problem = Some(problem),
            }
        }
        providers.push(record);
    }
    providers.sort_by(|one, other| one.name.cmp(&other.name));
    let routes: Vec<Route> = parse(&stored.routes)?;
    // Each was checked among those before it. Settings that came later may hide one, which does no harm.
    let routes = routes
        .into_iter()
        .map(|route| Routes::new(vec![route]))
        .try_fold(Routes::default(), |all, one| one.map(|one| all.followed_by(&one)));
    let routes = routes.map_err(|fault| unreadable(fault.to_string()))?;
    Ok(Loaded { revision: stored.revision, routes_revision: stored.routes_revision, providers, routes })
}

fn of_settings(name: &str, provider: &Provider) -> ProviderRecord {
    ProviderRecord {
        name: name.to_owned(),
        source: ProviderSource::Config,
        last_four: provider.api_key.as_ref().and_then(end_of),
        has_key: provider.api_key.is_some(),
        provider: provider.clone(),
        enabled: true,
        is_offered: true,
        problem: None,
        created_at: None,
        updated_at: None,
    }
}

fn of_row(row: &ProviderRow, keys: &KeysAtHand) -> Result<ProviderRecord, RoutingError> {
    let mut provider: Provider = parse(&row.document)?;
    let opened = row.sealed_key.as_ref().map(|sealed| keys.open(sealed, location(&row.name)));
    let problem = match opened.transpose() {
        Ok(key) => {
            provider.api_key = key;
            None
        }
        Err(problem) => Some(problem),
    };
    Ok(ProviderRecord {
        name: row.name.clone(),
        source: ProviderSource::Database,
        provider,
        last_four: row.last_four.clone(),
        has_key: row.sealed_key.is_some(),
        enabled: row.enabled,
        is_offered: false,
        problem,
        created_at: Some(row.created_at),
        updated_at: Some(row.updated_at),
    })
}

/// A value that this or an earlier version has written.
pub(super) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, RoutingError> {
    serde_json::from_str(text).map_err(|error| unreadable(error.to_string()))
}

fn unreadable(problem: String) -> RoutingError {
    DbError::from(sqlx::Error::Decode(problem.into())).into()
}

/// The error of a value that has no JSON.
#[expect(clippy::needless_pass_by_value, reason = "an argument of map_err")]
pub(super) fn unwritable(error: serde_json::Error) -> RoutingError {
    DbError::from(sqlx::Error::Encode(error.to_string().into())).into()
}
