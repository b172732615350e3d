//! API keys, sessions of the web UI, and their tenants. Without keys and without a password, every user of this machine has access.
//!
//! A key is checked in memory: the keys of the settings, and a snapshot of those in the database, are found by the SHA-256 of
//! their secrets. Finding one therefore takes the same time however much of a guess is right. Tenants share no cached text:
//! response times would reveal the prompts of other tenants.

pub mod budget;
pub mod cost;
pub mod key;
pub mod limiter;
pub mod password;
pub mod secret;
pub mod sessions;
pub mod token;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::DateTime;
use ipc_proto::generate::Priority;
use ipc_proto::{Error, ErrorKind, Field, Origin, Result};
use tokio::sync::watch;

use budget::{Exhausted, Limits, Moment, Size, Standing, rate_limited};
use key::{Key, KeyRecord, KeyState, Rights, Scope};
use secret::Digest;
use sessions::{Lifetime, Session, Sessions};

use crate::inference::sender::KeyIdentity;

/// The time that a request waits for the keys of the database.
const LOAD_TIMEOUT: Duration = Duration::from_secs(5);

type KeysByDigest = HashMap<Digest, Arc<Key>>;

/// The keys that open the API.
#[derive(Debug, Default)]
pub struct Keys {
    /// Those of the settings, with all rights.
    configured: KeysByDigest,
    /// Those of the database.
    stored: RwLock<KeysByDigest>,
    /// Whether there are or were keys in the database.
    required: AtomicBool,
    /// Whether those of the database were read.
    loaded: watch::Sender<bool>,
    /// Whether requests need a key or a session even if there is none yet.
    is_closed: bool,
    /// The browsers that have signed in.
    sessions: Sessions,
}

/// The sender of a request, and the rights of its key. All rights if no keys are needed.
#[derive(Debug, Clone, Default)]
pub struct Tenant(Option<Arc<Admission>>);

/// A key that was let in with one request.
#[derive(Debug)]
struct Admission {
    key: Arc<Key>,
    /// Tokens that the key's budget holds for the request.
    reserved: AtomicU32,
}

/// A refused request, and the limits of its key if those are the reason.
#[derive(Debug)]
pub struct Refusal {
    /// The reason.
    pub error: Error,
    /// The part of the key's limits that is left.
    pub standing: Option<Standing>,
}

impl From<Error> for Box<Refusal> {
    fn from(error: Error) -> Self {
        Self::new(Refusal { error, standing: None })
    }
}

impl Keys {
    /// Keys of the settings, each with its own tenant.
    pub fn new<'a>(configured: impl IntoIterator<Item = &'a str>) -> Self {
        let key = |text: &str| {
            let tenant = tenant_name(&format!("mlxd tenant {text}"));
            let state = Arc::new(KeyState::new(Limits::default()));
            let rights = Rights::all();
            Arc::new(Key {
                tenant,
                identity: None,
                rights,
                expires_at: None,
                store_content: false,
                is_session: false,
                state,
            })
        };
        Self {
            configured: configured.into_iter().map(|text| (secret::digest(text), key(text))).collect(),
            ..Self::default()
        }
    }

    /// The same keys, with sessions of this lifetime. `is_closed`: requests need a key or a session even if there is none yet.
    #[must_use]
    pub fn with_sessions(self, lifetime: Lifetime, is_closed: bool) -> Self {
        Self { sessions: Sessions::new(lifetime), is_closed, ..self }
    }

    /// Whether requests need a key or a session.
    pub fn are_needed(&self) -> bool {
        self.is_closed || self.required.load(Ordering::Relaxed) || !self.configured.is_empty()
    }

    /// The browsers that have signed in.
    pub fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// From now on requests need a key, even if the database holds none.
    pub fn require(&self) {
        self.required.store(true, Ordering::Relaxed);
    }

    /// Replaces the keys of the database. Their use so far stays.
    pub fn replace(&self, records: &[KeyRecord]) {
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        let known: HashMap<&str, &Arc<Key>> =
            stored.values().filter_map(|key| Some((&*key.identity.as_ref()?.id, key))).collect();
        let keys = records.iter().map(|record| {
            let state = known.get(&*record.id).map(|key| Arc::clone(&key.state));
            let state = state.unwrap_or_else(|| Arc::new(KeyState::new(record.limits)));
            if record.revoked_at.is_some() {
                state.revoke();
            }
            (record.digest, Arc::new(in_use(record, state)))
        });
        let keys: KeysByDigest = keys.collect();
        // A lost database revokes its keys also on connections that are open.
        let gone =
            stored.values().filter(|old| !keys.values().any(|key| Arc::ptr_eq(&key.state, &old.state)));
        gone.for_each(|key| key.state.revoke());
        drop(known);
        *stored = keys;
        drop(stored);
        self.loaded.send_replace(true);
    }

    /// The keys of the database.
    pub fn stored(&self) -> Vec<Arc<Key>> {
        self.stored.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Whether there are keys in the database that are not known yet.
    pub fn are_loading(&self) -> bool {
        self.required.load(Ordering::Relaxed) && !*self.loaded.borrow()
    }

    /// Waits a while for the keys of the database.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn ready(&self) -> Result<()> {
        let mut loaded = self.loaded.subscribe();
        let loaded = tokio::time::timeout(LOAD_TIMEOUT, loaded.wait_for(|loaded| *loaded)).await;
        if matches!(loaded, Ok(Ok(_))) {
            return Ok(());
        }
        let text = "the API keys cannot be read from the database at the moment; the server's log says why";
        Err(Error::new(ErrorKind::Unavailable, Origin::Gateway, text))
    }

    /// The tenant of the first of the `presented` keys that includes `scope`, or of the first valid one. It has reserved nothing.
    ///
    /// # Errors
    /// None of the keys is valid, or none has the scope.
    pub fn find<'a>(
        &self,
        presented: impl Iterator<Item = &'a str>,
        scope: Option<Scope>,
        now: Moment,
    ) -> Result<Tenant> {
        if !self.are_needed() {
            return Ok(Tenant::default());
        }
        let mut problem = None;
        for text in presented {
            let digest = secret::digest(text);
            let stored = || self.stored.read().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
            let Some(key) = self.configured.get(&digest).cloned().or_else(stored) else { continue };
            match key.check(scope, now) {
                Ok(()) => return Ok(Tenant(Some(Arc::new(Admission { key, reserved: AtomicU32::new(0) })))),
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        let text = "a valid API key is needed: send it as \"Authorization: Bearer KEY\"";
        Err(problem.unwrap_or_else(|| Error::new(ErrorKind::Unauthorized, Origin::Client, text)))
    }
}

fn in_use(record: &KeyRecord, state: Arc<KeyState>) -> Key {
    Key {
        tenant: tenant_name(&format!("mlxd key {}", record.id)),
        identity: Some(KeyIdentity { id: record.id.as_str().into(), name: record.name.as_str().into() }),
        rights: record.rights.clone(),
        expires_at: record.expires_at,
        store_content: record.store_content,
        is_session: false,
        state,
    }
}

/// 32 hexadecimal digits.
fn tenant_name(source: &str) -> String {
    secret::hex(&secret::digest(source)[..16])
}

impl Key {
    /// Whether a request of this scope may pass now.
    fn check(&self, scope: Option<Scope>, now: Moment) -> Result<()> {
        let refuse = |kind, text| Err(Error::new(kind, Origin::Client, text));
        if self.state.is_revoked() {
            let text = if self.is_session {
                "this session has ended: sign in again"
            } else {
                "this API key was revoked"
            };
            return refuse(ErrorKind::Unauthorized, text.to_owned());
        }
        if let Some(expired) = self.expires_at.filter(|at| *at <= now.time.timestamp()) {
            let date = DateTime::from_timestamp(expired, 0).unwrap_or_default().format("%Y-%m-%d %H:%M UTC");
            return refuse(ErrorKind::Unauthorized, format!("this API key expired on {date}"));
        }
        if let Some(scope) = scope.filter(|scope| !self.rights.include(*scope)) {
            let has: Vec<_> = self.rights.scopes.iter().map(|scope| scope.name()).collect();
            let text = format!(
                "this needs an API key of the scope {}; this key has {}",
                scope.name(),
                has.join(", ")
            );
            return refuse(ErrorKind::PermissionDenied, text);
        }
        self.state.touch(now.time.timestamp());
        Ok(())
    }
}

impl Tenant {
    /// The tenant of a session, for a request of this scope.
    ///
    /// # Errors
    /// The session has ended.
    pub fn of(session: &Session, scope: Scope, now: Moment) -> Result<Self> {
        let key = Arc::clone(&session.key);
        key.check(Some(scope), now)?;
        Ok(Self(Some(Arc::new(Admission { key, reserved: AtomicU32::new(0) }))))
    }

    /// Whether it is a browser that has signed in.
    pub fn is_session(&self) -> bool {
        self.key().is_some_and(|key| key.is_session)
    }

    /// Whether no key was needed.
    pub fn is_anyone(&self) -> bool {
        self.0.is_none()
    }

    /// The parts of the API that it may use.
    pub fn scopes(&self) -> Vec<Scope> {
        self.key().map_or_else(|| Rights::all().scopes, |key| key.rights.scopes.clone())
    }

    /// Waits until its key is revoked or its session ends. Never returns if no key was needed.
    pub fn ended(&self) -> impl Future<Output = ()> + Send + use<> {
        let state = self.key().map(|key| Arc::clone(&key.state));
        async move {
            match state {
                Some(state) => state.revoked().await,
                None => std::future::pending().await,
            }
        }
    }

    fn key(&self) -> Option<&Key> {
        self.0.as_deref().map(|admission| &*admission.key)
    }

    /// The same sender with a further request of about `estimate` tokens, if the key is still valid and its limits allow it.
    ///
    /// # Errors
    /// The key was revoked or has expired, or a limit is exhausted.
    pub fn admit(&self, estimate: u32, now: Moment) -> Result<Self, Box<Refusal>> {
        let Some(admission) = &self.0 else { return Ok(Self(None)) };
        let key = Arc::clone(&admission.key);
        key.check(Some(Scope::Inference), now)?;
        let admitted = key.state.budget().admit(Size::of_tokens(estimate.into()), now);
        if let Err(Exhausted { limit, wait }) = admitted {
            let text = format!("this API key's limit of {limit} is reached");
            let error = rate_limited(text, wait);
            return Err(Box::new(Refusal { error, standing: self.standing(now) }));
        }
        Ok(Self(Some(Arc::new(Admission { key, reserved: AtomicU32::new(estimate) }))))
    }

    /// The remaining limits of a minute. `None` if the key has none.
    pub fn standing(&self, now: Moment) -> Option<Standing> {
        let standing = self.key()?.state.budget().standing(now);
        (standing != Standing::default()).then_some(standing)
    }

    /// Counts the tokens of a part of the request. They replace what is reserved.
    pub fn spend(&self, tokens: u64) {
        if let Some(admission) = &self.0 {
            let reserved = Size::of_tokens(admission.reserved.swap(0, Ordering::Relaxed).into());
            admission.key.state.budget().settle(reserved, Size::of_tokens(tokens), Moment::now());
        }
    }

    /// The name; empty if no keys are needed.
    pub fn name(&self) -> &str {
        self.key().map(|key| &*key.tenant).unwrap_or_default()
    }

    /// A number that tells tenants apart, for the workers' queues. 0 without a key.
    pub fn number(&self) -> u64 {
        let name = self.name();
        name.get(..16).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
    }

    /// Whether the tenant has the scope `admin`, as everyone has on a server without keys.
    pub fn is_admin(&self) -> bool {
        self.key().is_none_or(|key| key.rights.include(Scope::Admin))
    }

    /// Whether the content of the tenant's requests is stored with the request log.
    pub fn stores_content(&self) -> bool {
        self.key().is_some_and(|key| key.store_content)
    }

    /// Id and name of the key; `None` for a key of the settings.
    pub fn identity(&self) -> Option<&KeyIdentity> {
        self.key()?.identity.as_ref()
    }

    /// The scope of cached text for requests of this tenant with `salt`.
    pub fn scope(&self, salt: &str) -> String {
        match self.key() {
            // All names have the same length, so no salt can produce the scope of another tenant.
            Some(key) => format!("{}:{salt}", key.tenant),
            None => salt.to_owned(),
        }
    }

    /// Whether the tenant may ask for a model by this name.
    pub fn may_use(&self, model: &str) -> bool {
        self.key().is_none_or(|key| key.rights.allow(model))
    }

    /// Checks that the tenant may ask for a model by this name.
    ///
    /// # Errors
    /// It may not.
    pub fn check_model(&self, model: &str) -> Result<()> {
        if self.may_use(model) {
            return Ok(());
        }
        let text =
            format!("this API key may not use the model \"{model}\"; GET /v1/models lists those that it may");
        Err(Error::new(ErrorKind::PermissionDenied, Origin::Client, text)
            .with_field(Field::Named("model".into())))
    }

    /// Whether the tenant's requests never go to a provider.
    pub fn is_local_only(&self) -> bool {
        self.key().is_some_and(|key| key.rights.local_only)
    }

    /// The refusal of a model of `provider` for a tenant that is local only.
    pub fn refuse_provider(model: &str, provider: &str) -> Error {
        let text =
            format!("this API key is local only, and \"{model}\" is a model of the provider {provider}");
        Error::new(ErrorKind::PermissionDenied, Origin::Client, text).with_field(Field::Named("model".into()))
    }

    /// The priority of a request that asks for `wanted`.
    pub fn priority(&self, wanted: Priority) -> Priority {
        self.key().map_or(wanted, |key| key.rights.priority(wanted))
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        // A request that ended before it used anything.
        let reserved = self.reserved.swap(0, Ordering::Relaxed);
        if reserved > 0 {
            let reserved = Size::of_tokens(reserved.into());
            self.key.state.budget().settle(reserved, Size::default(), Moment::now());
        }
    }
}

#[cfg(test)]
mod tests;
