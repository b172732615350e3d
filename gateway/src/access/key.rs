//! One API key: its tenant, its rights, and its use so far.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipc_proto::gateway::NamePattern;
use ipc_proto::generate::Priority;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::budget::{Budget, Limits, Moment};
use super::secret::Digest;
use crate::inference::sender::KeyIdentity;

/// A key as the database holds it. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// `key_` and 16 hexadecimal digits.
    pub id: String,
    /// The name that its maker gave it.
    pub name: String,
    /// The SHA-256 of its secret.
    pub digest: Digest,
    /// The end of its secret.
    pub last_four: String,
    /// Its scopes, models and priority.
    pub rights: Rights,
    /// Its limits of requests and tokens.
    pub limits: Limits,
    /// Whether the content of its requests is stored with the request log.
    pub store_content: bool,
    /// Its creation, in seconds since the epoch.
    pub created_at: i64,
    /// Its expiry, in seconds since the epoch.
    pub expires_at: Option<i64>,
    /// Its last use, up to half a minute late.
    pub last_used_at: Option<i64>,
    /// Its revocation, in seconds since the epoch.
    pub revoked_at: Option<i64>,
}

/// The rights of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights {
    /// The parts of the API that it opens.
    pub scopes: Vec<Scope>,
    /// The names that it may ask for: models, aliases and routes. Empty: all.
    pub models: Vec<NamePattern>,
    /// Whether its requests never go to a provider.
    pub local_only: bool,
    /// The class of its requests in a model's queue. `None`: each request sets it.
    pub priority: Option<Priority>,
}

/// A part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "KeyScope")]
pub enum Scope {
    /// Everything but the admin API and the metrics.
    Inference,
    /// The admin API and the metrics.
    Admin,
    /// Only reading of them.
    AdminRead,
}

impl Scope {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inference => "inference",
            Self::Admin => "admin",
            Self::AdminRead => "admin-read",
        }
    }
}

impl Rights {
    /// All rights: those of a key from the settings.
    pub fn all() -> Self {
        let scopes = vec![Scope::Inference, Scope::Admin];
        Self { scopes, models: Vec::new(), local_only: false, priority: None }
    }

    /// Whether they include a scope. `admin` includes `admin-read`.
    pub fn include(&self, scope: Scope) -> bool {
        let admin = scope == Scope::AdminRead && self.scopes.contains(&Scope::Admin);
        admin || self.scopes.contains(&scope)
    }

    /// Whether they include a model's name.
    pub fn allow(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model))
    }

    /// The priority of a request that asks for `wanted`: the key's class, or lower if the request asks for low.
    pub fn priority(&self, wanted: Priority) -> Priority {
        match self.priority {
            Some(class) if wanted != Priority::Low => class,
            _ => wanted,
        }
    }
}

/// A key in use.
#[derive(Debug)]
pub struct Key {
    /// The name under which its data is kept: 32 hexadecimal digits, which do not reveal the secret.
    pub tenant: String,
    /// Id and name; `None` for a key from the settings.
    pub identity: Option<KeyIdentity>,
    /// Its scopes, models and priority.
    pub rights: Rights,
    /// Its expiry, in seconds since the epoch.
    pub expires_at: Option<i64>,
    /// Whether the content of its requests is stored with the request log.
    pub store_content: bool,
    /// Whether it stands for a session of the web UI.
    pub is_session: bool,
    /// Its use. A key that is read from the database again keeps it.
    pub state: Arc<KeyState>,
}

/// The use of a key.
#[derive(Debug)]
pub struct KeyState {
    budget: Mutex<Budget>,
    /// The limits of cost, if the key has any.
    cost: Option<Mutex<Budget>>,
    revoked: watch::Sender<bool>,
    /// Seconds since the epoch; 0 before the first use.
    last_used: AtomicI64,
}

impl KeyState {
    /// An unused key.
    pub fn new(limits: Limits) -> Self {
        let now = Moment::now();
        let budget = Mutex::new(Budget::new(limits, now));
        let cost = limits.cost().map(|bounds| Mutex::new(Budget::new(bounds, now)));
        Self { budget, cost, revoked: watch::Sender::new(false), last_used: AtomicI64::new(0) }
    }

    /// The limits and their use.
    pub fn budget(&self) -> MutexGuard<'_, Budget> {
        self.budget.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The limits of cost and their use. `None` if the key has no such limit.
    pub fn cost(&self) -> Option<MutexGuard<'_, Budget>> {
        Some(self.cost.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses every further request, also on connections that are open.
    pub fn revoke(&self) {
        self.revoked.send_replace(true);
    }

    /// Whether the key was revoked.
    pub fn is_revoked(&self) -> bool {
        *self.revoked.borrow()
    }

    /// Waits until the key is revoked.
    pub async fn revoked(&self) {
        // The sender lives as long as this does.
        let _ = self.revoked.subscribe().wait_for(|revoked| *revoked).await;
    }

    /// Notes a use at `now`, in seconds since the epoch.
    pub fn touch(&self, now: i64) {
        self.last_used.fetch_max(now, Ordering::Relaxed);
    }

    /// The last use, in seconds since the epoch; 0 if there was none since this process started.
    pub fn last_used(&self) -> i64 {
        self.last_used.load(Ordering::Relaxed)
    }
}
