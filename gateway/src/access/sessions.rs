//! The sessions of browsers that have signed in to the web UI. Like keys they are checked in memory, by a snapshot of the database.
//!
//! A cookie holds a session's token. Its signature and the SHA-256 of its secret have to be right, so neither the database alone
//! nor the signing secret alone opens anything. All sessions are one tenant, with the scopes `inference` and `admin`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ipc_proto::gateway::GatewayConfig;
use secrecy::SecretSlice;

use super::budget::{Limits, Moment};
use super::key::{Key, KeyState, Rights};
use super::secret::{self, Digest};
use super::token::{self, Claims};
use crate::inference::sender::KeyIdentity;

/// Sessions that there are at most. A further one ends the one that was not used for the longest time.
pub const MAX_SESSIONS: usize = 100;
/// The id by which the request log names all sessions.
pub const IDENTITY: &str = "login";

const DAY_SECONDS: i64 = 86_400;
const COOKIE: &str = "mlxd_session_";

/// How long sessions live, in seconds.
#[derive(Debug, Clone, Copy)]
pub struct Lifetime {
    /// Since the last use.
    pub idle: i64,
    /// Since the beginning.
    pub most: i64,
}

/// A session as the database holds it. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRecord {
    /// `ses_` and 16 hexadecimal digits.
    pub id: String,
    /// The SHA-256 of the secret in its token.
    pub digest: Digest,
    /// The name of its browser.
    pub name: String,
    /// Its beginning.
    pub created_at: i64,
    /// Its end, however much it is used.
    pub expires_at: i64,
    /// Its last use, up to half a minute late.
    pub last_used_at: i64,
}

/// The sign-in as the database holds it, without the password's hash.
#[derive(Debug, Default)]
pub struct LoginRecord {
    /// Whether there is a password.
    pub has_password: bool,
    /// The secret that signs tokens. `None` as long as nobody has signed in.
    pub secret: Option<SecretSlice<u8>>,
    /// The sessions.
    pub sessions: Vec<SessionRecord>,
}

/// A session in use.
#[derive(Debug)]
pub struct Session {
    /// The session as the database holds it.
    pub record: SessionRecord,
    /// Its tenant, its rights and its use.
    pub(super) key: Arc<Key>,
}

/// The sessions that open the API.
#[derive(Debug)]
pub struct Sessions {
    lifetime: Lifetime,
    snapshot: RwLock<Snapshot>,
}

#[derive(Debug, Default)]
struct Snapshot {
    has_password: bool,
    secret: Option<SecretSlice<u8>>,
    /// The cookie's name. Browsers send a host's cookies to all its ports, so each home folder has a name of its own.
    cookie: String,
    sessions: HashMap<String, Arc<Session>>,
}

impl From<&GatewayConfig> for Lifetime {
    fn from(config: &GatewayConfig) -> Self {
        Self {
            idle: i64::from(config.session_idle_days) * DAY_SECONDS,
            most: i64::from(config.session_days) * DAY_SECONDS,
        }
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::from(&GatewayConfig::default())
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(Lifetime::default())
    }
}

impl Session {
    /// Its last use, in seconds since the epoch.
    pub fn last_used_at(&self) -> i64 {
        self.record.last_used_at.max(self.key.state.last_used())
    }

    /// Whether it has expired at `now`, in seconds since the epoch.
    fn is_over(&self, lifetime: Lifetime, now: i64) -> bool {
        self.record.expires_at <= now || self.last_used_at() + lifetime.idle <= now
    }
}

impl Sessions {
    /// No sessions yet.
    pub fn new(lifetime: Lifetime) -> Self {
        Self { lifetime, snapshot: RwLock::default() }
    }

    /// How long sessions live.
    pub fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Replaces the snapshot. Uses since the last one stay. Those that are gone end, also on connections that are open.
    pub fn replace(&self, login: LoginRecord) {
        let mut snapshot = self.snapshot.write().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut snapshot.sessions);
        let in_use = |record: SessionRecord| {
            let key = match before.remove(&record.id) {
                Some(known) if known.record.digest == record.digest => Arc::clone(&known.key),
                _ => Arc::new(key()),
            };
            (record.id.clone(), Arc::new(Session { record, key }))
        };
        snapshot.sessions = login.sessions.into_iter().map(in_use).collect();
        before.values().for_each(|gone| gone.key.state.revoke());
        snapshot.has_password = login.has_password;
        snapshot.cookie = login.secret.as_ref().map(cookie_name).unwrap_or_default();
        snapshot.secret = login.secret;
    }

    /// Whether there is a password.
    pub fn have_password(&self) -> bool {
        self.read(|snapshot| snapshot.has_password)
    }

    /// The name of the cookie; empty as long as nobody has signed in.
    pub fn cookie(&self) -> String {
        self.read(|snapshot| snapshot.cookie.clone())
    }

    /// All sessions that have not expired at `now`.
    pub fn living(&self, now: Moment) -> Vec<Arc<Session>> {
        let now = now.time.timestamp();
        self.read(|snapshot| {
            let living = snapshot.sessions.values().filter(|session| !session.is_over(self.lifetime, now));
            living.cloned().collect()
        })
    }

    /// The session of this token.
    pub fn find(&self, token: &str, now: Moment) -> Option<Arc<Session>> {
        let now = now.time.timestamp();
        self.read(|snapshot| {
            let claims = token::verify(snapshot.secret.as_ref()?, token, now)?;
            let session = snapshot.sessions.get(&claims.sid)?;
            let is_its = session.record.digest == secret::digest(&claims.jti);
            (is_its && !session.is_over(self.lifetime, now)).then(|| Arc::clone(session))
        })
    }

    /// The token of a session, with its secret; `None` before the signing secret is known.
    pub fn token(&self, record: &SessionRecord, secret: String) -> Option<String> {
        let claims =
            Claims { sid: record.id.clone(), jti: secret, iat: record.created_at, exp: record.expires_at };
        self.read(|snapshot| token::sign(snapshot.secret.as_ref()?, &claims))
    }

    fn read<T>(&self, of: impl FnOnce(&Snapshot) -> T) -> T {
        of(&self.snapshot.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The key that stands for a session.
fn key() -> Key {
    Key {
        tenant: super::tenant_name("mlxd login"),
        identity: Some(KeyIdentity { id: IDENTITY.into(), name: "web UI".into() }),
        rights: Rights::all(),
        expires_at: None,
        store_content: false,
        is_session: true,
        state: Arc::new(KeyState::new(Limits::default())),
    }
}

fn cookie_name(secret: &SecretSlice<u8>) -> String {
    format!("{COOKIE}{}", token::fingerprint(secret))
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::access::key::Scope;
    use crate::access::{Keys, Tenant};

    fn record(id: &str, created_at: i64) -> SessionRecord {
        SessionRecord {
            id: id.into(),
            digest: secret::digest("a"),
            name: "Firefox".into(),
            created_at,
            expires_at: created_at + 30 * DAY_SECONDS,
            last_used_at: created_at,
        }
    }

    fn login(byte: u8, sessions: &[SessionRecord]) -> LoginRecord {
        let secret = Some(vec![byte; token::SECRET_BYTES].into());
        LoginRecord { has_password: true, secret, sessions: sessions.to_vec() }
    }

    fn later(now: Moment, days: i64) -> Moment {
        Moment { time: now.time + TimeDelta::days(days), ..now }
    }

    #[test]
    fn token_opens_its_session_until_the_row_is_gone() {
        let (keys, now) = (Keys::default(), Moment::now());
        let sessions = keys.sessions();
        let row = record("ses_1", now.time.timestamp());
        assert_eq!(sessions.token(&row, "a".into()), None, "nothing signs it yet");
        sessions.replace(login(1, std::slice::from_ref(&row)));
        let token = sessions.token(&row, "a".into()).unwrap();
        let session = sessions.find(&token, now).unwrap();
        let tenant = Tenant::of(&session, Scope::Admin, now).unwrap();
        assert!(tenant.is_admin() && tenant.is_session());
        assert_eq!(tenant.identity().unwrap().id.as_ref(), IDENTITY);
        sessions.replace(login(1, &[]));
        assert!(sessions.find(&token, now).is_none());
        assert!(tenant.admit(1, now).is_err(), "nor does it go on on an open connection");
    }

    #[test]
    fn token_with_another_secret_or_signature_opens_nothing() {
        let (sessions, now) = (Sessions::default(), Moment::now());
        let row = record("ses_1", now.time.timestamp());
        sessions.replace(login(1, std::slice::from_ref(&row)));
        // As from somebody who has read the database: its rows and its signing secret.
        let guessed = sessions.token(&row, "b".into()).unwrap();
        assert!(sessions.find(&guessed, now).is_none());
        let other = sessions.token(&record("ses_2", 0), "a".into()).unwrap();
        assert!(sessions.find(&other, now).is_none());
        let token = sessions.token(&row, "a".into()).unwrap();
        sessions.replace(login(2, std::slice::from_ref(&row)));
        assert!(sessions.find(&token, now).is_none(), "another home has signed it");
    }

    #[test]
    fn session_ends_when_it_is_idle_or_old() {
        let (sessions, now) = (Sessions::default(), Moment::now());
        let row = record("ses_1", now.time.timestamp());
        sessions.replace(login(1, std::slice::from_ref(&row)));
        let token = sessions.token(&row, "a".into()).unwrap();
        let find = |days| sessions.find(&token, later(now, days));
        assert!(find(6).is_some() && find(7).is_none());
        for day in (0..30).step_by(6) {
            let session = find(day).unwrap();
            Tenant::of(&session, Scope::Inference, later(now, day)).unwrap();
        }
        assert!(find(29).is_some(), "it was used meanwhile");
        assert!(find(30).is_none());
        assert_eq!((sessions.living(later(now, 29)).len(), sessions.living(later(now, 30)).len()), (1, 0));
    }

    #[test]
    fn uses_stay_when_the_database_is_read_again() {
        let (sessions, now) = (Sessions::default(), Moment::now());
        let row = record("ses_1", now.time.timestamp() - 100);
        sessions.replace(login(1, std::slice::from_ref(&row)));
        Tenant::of(&sessions.living(now)[0], Scope::Inference, now).unwrap();
        sessions.replace(login(1, &[row]));
        assert_eq!(sessions.living(now)[0].last_used_at(), now.time.timestamp());
    }

    #[test]
    fn homes_have_cookies_of_different_names() {
        let (one, other) = (Sessions::default(), Sessions::default());
        one.replace(login(1, &[]));
        other.replace(login(2, &[]));
        assert!(one.cookie().starts_with(COOKIE) && one.cookie() != other.cookie());
        assert!(one.have_password() && Sessions::default().cookie().is_empty());
    }
}
