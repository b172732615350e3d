//! Changes of the sign-in: password, one-time link, sessions. Each raises the revision of the keys, so that every gateway of the
//! home folder reads them again.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};

use crate::access::budget::Moment;
use crate::access::secret;
use crate::access::sessions::{MAX_SESSIONS, Session, SessionRecord};
use crate::store::key_store::KeyStore;
use crate::store::{Db, DbError};

/// Seconds for which a one-time link is valid.
const LINK_SECONDS: i64 = 30 * 60;
/// Random bytes of the secrets of links and sessions.
const SECRET_BYTES: usize = 32;

/// The sign-in of one home folder.
#[derive(Debug)]
pub struct LoginStore {
    db: Db,
    keys: Arc<KeyStore>,
}

/// A new one-time link.
#[derive(Debug)]
pub struct Link {
    /// The secret that its address ends with.
    pub token: SecretString,
    /// The time from which it is refused, in seconds since the epoch.
    pub expires_at: i64,
}

/// A new session and its token.
#[derive(Debug)]
pub struct NewSession {
    /// As the database holds it.
    pub record: SessionRecord,
    /// The content of the cookie.
    pub token: SecretString,
}

impl LoginStore {
    /// The sign-in of the home folder of `keys`.
    pub fn new(db: Db, keys: Arc<KeyStore>) -> Self {
        Self { db, keys }
    }

    /// The keys beside it.
    pub fn keys(&self) -> &Arc<KeyStore> {
        &self.keys
    }

    /// The hash of the password.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn password(&self) -> Result<Option<String>, DbError> {
        self.db.password().await
    }

    /// Sets the password, and ends all sessions but `kept`. Requests need a key or a session from now on.
    ///
    /// # Errors
    /// The database or the file refuses.
    pub async fn set_password(&self, hash: &str, kept: Option<&str>) -> Result<(), DbError> {
        self.keys.mark()?;
        let mut change = self.db.change_login().await?;
        change.set_password(Some(hash), seconds()).await?;
        change.forget_link().await?;
        change.end_others(kept).await?;
        change.commit().await?;
        self.keys.require().await
    }

    /// Whether a one-time link is valid.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn link_is_valid(&self, token: &SecretString) -> Result<bool, DbError> {
        self.db.link_is_valid(&secret::digest(token.expose_secret()), seconds()).await
    }

    /// As [`Self::set_password`], by a one-time link, which is used up. Returns false if it is not valid.
    ///
    /// # Errors
    /// The database or the file refuses. The link is still valid.
    pub async fn set_up(&self, token: &SecretString, hash: &str) -> Result<bool, DbError> {
        let digest = secret::digest(token.expose_secret());
        self.keys.mark()?;
        let mut change = self.db.change_login().await?;
        if !change.take_link(&digest, seconds()).await? {
            return Ok(false);
        }
        change.set_password(Some(hash), seconds()).await?;
        change.end_others(None).await?;
        change.commit().await?;
        self.keys.require().await.map(|()| true)
    }

    /// Makes a one-time link. The one before is no longer valid.
    ///
    /// # Errors
    /// The database refuses, or there are no random bytes.
    pub async fn new_link(&self) -> Result<Link, DbError> {
        let token = SecretString::from(random()?);
        let expires_at = seconds() + LINK_SECONDS;
        let mut change = self.db.change_login().await?;
        change.set_link(&secret::digest(token.expose_secret()), expires_at).await?;
        change.commit().await?;
        Ok(Link { token, expires_at })
    }

    /// Removes the password and the link, and ends all sessions. The server stays closed, as after the last key was revoked.
    ///
    /// # Errors
    /// The database or the file refuses.
    pub async fn remove(&self) -> Result<(), DbError> {
        let mut change = self.db.change_login().await?;
        change.set_password(None, seconds()).await?;
        change.forget_link().await?;
        change.end_others(None).await?;
        change.commit().await?;
        self.keys.changed().await
    }

    /// Begins a session of the browser `name`.
    ///
    /// # Errors
    /// The database refuses, or there are no random bytes.
    pub async fn begin(&self, name: String) -> Result<NewSession, DbError> {
        let keys = self.keys.keys();
        let (lifetime, now, random) = (keys.sessions().lifetime(), seconds(), random()?);
        let record = SessionRecord {
            id: secret::generate_id("ses").map_err(std::io::Error::other)?,
            digest: secret::digest(&random),
            name,
            created_at: now,
            expires_at: now + lifetime.most,
            last_used_at: now,
        };
        let mut change = self.db.change_login().await?;
        change.add_session(&record, lifetime.idle, MAX_SESSIONS).await?;
        change.commit().await?;
        self.keys.changed().await?;
        let unsigned = || std::io::Error::other("the session cannot be signed");
        let token = keys.sessions().token(&record, random).ok_or_else(unsigned)?.into();
        Ok(NewSession { record, token })
    }

    /// Ends a session. Returns false if there is no such one.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn end(&self, id: &str) -> Result<bool, DbError> {
        let mut change = self.db.change_login().await?;
        let is_gone = change.end_session(id).await?;
        change.commit().await?;
        if is_gone {
            self.keys.changed().await?;
        }
        Ok(is_gone)
    }

    /// The sessions that live, with their last uses, the one used last first.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn sessions(&self) -> Result<Vec<SessionRecord>, DbError> {
        self.keys.reload().await?;
        let with_use = |session: Arc<Session>| SessionRecord {
            last_used_at: session.last_used_at(),
            ..session.record.clone()
        };
        let living = self.keys.keys().sessions().living(Moment::now());
        let mut records: Vec<SessionRecord> = living.into_iter().map(with_use).collect();
        records.sort_by(|a, b| b.last_used_at.cmp(&a.last_used_at).then_with(|| a.id.cmp(&b.id)));
        Ok(records)
    }
}

fn seconds() -> i64 {
    Moment::now().time.timestamp()
}

/// A random secret in hexadecimal digits.
fn random() -> std::io::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(secret::hex(&bytes))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::access::{Keys, password};

    fn store(home: &std::path::Path) -> LoginStore {
        let db = Db::new(home);
        let keys = Arc::new(KeyStore::new(db.clone(), home, Arc::default()));
        LoginStore::new(db, keys)
    }

    fn opens(store: &LoginStore, token: &SecretString) -> bool {
        store.keys.keys().sessions().find(token.expose_secret(), Moment::now()).is_some()
    }

    #[tokio::test]
    async fn password_closes_the_server_and_its_change_ends_other_sessions() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        assert!(!store.keys.keys().are_needed() && store.password().await.unwrap().is_none());
        store.set_password("hash", None).await.unwrap();
        assert!(store.keys.keys().are_needed() && store.keys.keys().sessions().have_password());
        assert_eq!(store.password().await.unwrap().as_deref(), Some("hash"));
        let [one, other] = [store.begin("a".into()).await.unwrap(), store.begin("b".into()).await.unwrap()];
        assert!(opens(&store, &one.token) && opens(&store, &other.token));
        store.set_password("next", Some(&one.record.id)).await.unwrap();
        assert!(opens(&store, &one.token) && !opens(&store, &other.token));
        let listed = store.sessions().await.unwrap();
        assert_eq!(listed, std::slice::from_ref(&one.record));
        assert!(store.end(&one.record.id).await.unwrap() && !store.end(&one.record.id).await.unwrap());
        assert!(!opens(&store, &one.token));
    }

    #[tokio::test]
    async fn link_sets_a_password_once() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        let [old, link] = [store.new_link().await.unwrap(), store.new_link().await.unwrap()];
        assert!(link.expires_at - seconds() > LINK_SECONDS - 10);
        assert!(!store.set_up(&old.token, "hash").await.unwrap(), "a newer one has replaced it");
        assert!(store.link_is_valid(&link.token).await.unwrap());
        let session = {
            store.set_password("before", None).await.unwrap();
            assert!(!store.link_is_valid(&link.token).await.unwrap(), "a new password uses it up");
            store.begin("a".into()).await.unwrap()
        };
        let link = store.new_link().await.unwrap();
        assert!(store.set_up(&link.token, "hash").await.unwrap());
        assert!(!opens(&store, &session.token), "sessions of the password before end");
        assert!(!store.set_up(&link.token, "again").await.unwrap());
        assert_eq!(store.password().await.unwrap().as_deref(), Some("hash"));
    }

    #[tokio::test]
    async fn expired_link_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        let digest = secret::digest("a");
        let mut change = store.db.change_login().await.unwrap();
        change.set_link(&digest, seconds()).await.unwrap();
        change.commit().await.unwrap();
        assert!(!store.link_is_valid(&"a".into()).await.unwrap());
        assert!(!store.set_up(&"a".into(), "hash").await.unwrap());
    }

    #[tokio::test]
    async fn sessions_are_bounded_and_old_ones_go_first() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        store.set_password("hash", None).await.unwrap();
        let first = store.begin("first".into()).await.unwrap();
        for number in 0..MAX_SESSIONS - 1 {
            store.begin(number.to_string()).await.unwrap();
        }
        assert!(opens(&store, &first.token));
        store.begin("last".into()).await.unwrap();
        assert_eq!(store.sessions().await.unwrap().len(), MAX_SESSIONS);
        assert!(!opens(&store, &first.token));
    }

    #[tokio::test]
    async fn database_alone_neither_has_the_password_nor_opens_anything() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        let text = "correct horse battery";
        store
            .set_password(&password::Password::new(text.into()).unwrap().hash().unwrap(), None)
            .await
            .unwrap();
        let (session, link) = (store.begin("a".into()).await.unwrap(), store.new_link().await.unwrap());
        store.db.close().await;
        for entry in std::fs::read_dir(home.path()).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            let claims = session.token.expose_secret().split('.').nth(1).unwrap();
            for secret in [text, session.token.expose_secret(), claims, link.token.expose_secret()] {
                assert!(!bytes.windows(secret.len()).any(|part| part == secret.as_bytes()));
            }
        }
    }

    /// A lost database must not open the server, nor a password that was removed.
    #[tokio::test]
    async fn server_stays_closed_without_its_password() {
        let home = tempfile::tempdir().unwrap();
        let first = store(home.path());
        first.set_password("hash", None).await.unwrap();
        first.remove().await.unwrap();
        assert!(first.password().await.unwrap().is_none() && first.keys.keys().are_needed());
        assert!(store(home.path()).keys.keys().are_needed());
    }

    #[tokio::test]
    async fn removing_no_password_closes_nothing() {
        let home = tempfile::tempdir().unwrap();
        let store = store(home.path());
        store.new_link().await.unwrap();
        store.remove().await.unwrap();
        assert!(!store.keys.keys().are_needed());
        assert!(!KeyStore::new(Db::new(home.path()), home.path(), Arc::default()).keys().are_needed());
    }

    #[tokio::test]
    async fn running_gateway_notices_the_changes_of_another_process() {
        let home = tempfile::tempdir().unwrap();
        let running = KeyStore::start(Db::new(home.path()), home.path(), Keys::default());
        let other = store(home.path());
        other.set_password("hash", None).await.unwrap();
        let session = other.begin("a".into()).await.unwrap();
        let opens = || running.keys().sessions().find(session.token.expose_secret(), Moment::now()).is_some();
        let until = async |what: &str, done: &dyn Fn() -> bool| {
            for _ in 0..200 {
                if done() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            panic!("not noticed: {what}");
        };
        until("the session", &opens).await;
        assert!(running.keys().are_needed() && running.keys().sessions().have_password());
        other.remove().await.unwrap();
        until("its end", &|| !opens()).await;
    }
}
