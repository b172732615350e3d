//! The API keys in the database, and the snapshot of them that requests are checked against.
//!
//! The sessions of browsers are kept with them, as the database has them.
//!
//! The file `keys-required` in the home folder says that there are keys or a password. It exists before the first key does, so a server whose
//! database is lost or cannot be read refuses requests instead of opening itself. Each change writes a new revision into it. A
//! running gateway looks at the file twice a second, and so notices the changes of `mlxd key` and of another gateway.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{NaiveDate, NaiveTime};
use ipc_proto::gateway::KEYS_REQUIRED;
use tokio::sync::Mutex;

use crate::access::Keys;
use crate::access::budget::{Moment, month_begin};
use crate::access::key::{Key, KeyRecord};
use crate::access::secret;
use crate::access::sessions::Session;
use crate::store::{Db, DbError};

const OWNER_ONLY: u32 = 0o600;
/// Pause between two looks at the file.
const LOOK: Duration = Duration::from_millis(500);
/// Looks between two writes of the last uses.
const LOOKS_PER_FLUSH: u32 = 60;
/// Looks between two warnings about a database that refuses.
const LOOKS_PER_WARNING: u32 = 120;

/// Ids, and times in seconds since the epoch.
type Uses = Vec<(String, i64)>;

/// The keys of one home folder.
#[derive(Debug)]
pub struct KeyStore {
    db: Db,
    marker: PathBuf,
    keys: Arc<Keys>,
    /// The last uses that the database has: of keys, and of sessions.
    written: Mutex<[Uses; 2]>,
    /// Held while the keys are read, so that an older reading never replaces a newer one.
    reading: Mutex<()>,
}

impl KeyStore {
    /// The keys of `home`. If there are some, requests need a key from now on, though none of them is loaded yet.
    pub fn new(db: Db, home: &Path, keys: Arc<Keys>) -> Self {
        let marker = home.join(KEYS_REQUIRED);
        // A file whose existence cannot be checked may exist.
        if marker.try_exists().unwrap_or(true) {
            keys.require();
        }
        Self { db, marker, keys, written: Mutex::default(), reading: Mutex::default() }
    }

    /// The store of `home`, which keeps its snapshot up to date from now on. `keys` are those of the settings. Needs a runtime.
    pub fn start(db: Db, home: &Path, keys: Keys) -> Arc<Self> {
        let this = Arc::new(Self::new(db, home, Arc::new(keys)));
        tokio::spawn(Arc::clone(&this).run());
        this
    }

    /// The snapshot.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Keeps the snapshot up to date, and stores the last uses; never returns.
    async fn run(self: Arc<Self>) {
        self.find_unmarked().await;
        let (mut revision, mut looks, mut warned) = (None, 0u32, None);
        loop {
            let now = self.revision().await;
            let has_changed = now.is_some() && now != revision;
            looks = looks.wrapping_add(1);
            let done = if has_changed {
                self.keys.require();
                self.reload().await.inspect(|()| revision = now)
            } else if now.is_some() && looks.is_multiple_of(LOOKS_PER_FLUSH) {
                self.flush().await
            } else {
                Ok(())
            };
            if let Err(error) = done
                && warned.is_none_or(|before| looks.wrapping_sub(before) >= LOOKS_PER_WARNING)
            {
                tracing::error!(%error, "the API keys cannot be read or written");
                warned = Some(looks);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Writes the file if it is missing although there are valid keys: the database alone was put back.
    async fn find_unmarked(&self) {
        if self.revision().await.is_none()
            && let (Ok(records), Ok(login)) = (self.db.keys().await, self.db.login().await)
            && (login.has_password || records.iter().any(|record| record.revoked_at.is_none()))
            && let Err(error) = self.mark()
        {
            tracing::error!(%error, "{} cannot be written", self.marker.display());
            self.keys.require();
        }
    }

    /// The revision in the file; `None` if there is no file.
    async fn revision(&self) -> Option<String> {
        match tokio::fs::read_to_string(&self.marker).await {
            Ok(revision) => Some(revision),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(_) => Some(String::new()),
        }
    }

    /// Reads the keys and the sessions again.
    ///
    /// # Errors
    /// The database refuses. The snapshot stays.
    pub async fn reload(&self) -> Result<(), DbError> {
        let _reading = self.reading.lock().await;
        let (records, login) = (self.db.keys().await?, self.db.login().await?);
        if login.has_password {
            self.keys.require();
        }
        self.keys.sessions().replace(login);
        self.keys.replace(&records);
        self.learn_usage().await
    }

    /// Reads everything again after a change, and has other gateways do so.
    ///
    /// # Errors
    /// The database or the file refuses.
    pub(super) async fn changed(&self) -> Result<(), DbError> {
        self.reload().await?;
        // The file would close a server that has neither keys nor a password.
        if self.marker.try_exists().unwrap_or(true) {
            self.mark()?;
        }
        Ok(())
    }

    /// As [`Self::changed`]. Requests need a key or a session from now on.
    ///
    /// # Errors
    /// The database or the file refuses.
    pub(super) async fn require(&self) -> Result<(), DbError> {
        self.keys.require();
        self.reload().await?;
        Ok(self.mark()?)
    }

    /// Takes over the tokens and costs of this day and month from the audit log, for keys with such limits.
    async fn learn_usage(&self) -> Result<(), DbError> {
        let mut limited = self.keys.stored();
        limited.retain(|key| key.state.budget().has_periods() || key.state.cost().is_some());
        if limited.is_empty() {
            return Ok(());
        }
        let now = Moment::now();
        let today = now.time.date_naive();
        let since = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        let (today, month) = (since(today), since(month_begin(today)));
        let used = |by_key: &HashMap<String, u64>, key: &Key| {
            key.identity.as_ref().and_then(|identity| by_key.get(&*identity.id)).copied().unwrap_or(0)
        };
        if limited.iter().any(|key| key.state.budget().has_periods()) {
            let (day, month) = (self.db.tokens_by_key(today).await?, self.db.tokens_by_key(month).await?);
            for key in &limited {
                key.state.budget().learn(used(&day, key), used(&month, key), now);
            }
        }
        if limited.iter().any(|key| key.state.cost().is_some()) {
            let (day, month) = (self.db.costs_by_key(today).await?, self.db.costs_by_key(month).await?);
            for key in &limited {
                if let Some(mut cost) = key.state.cost() {
                    cost.learn(used(&day, key), used(&month, key), now);
                }
            }
        }
        Ok(())
    }

    /// Stores the last uses that are new, and takes over the usage of other gateways.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn flush(&self) -> Result<(), DbError> {
        let mut written = self.written.lock().await;
        let uses = [self.uses_of_keys(), self.uses_of_sessions()];
        if uses == *written {
            return Ok(());
        }
        let [keys, sessions] = &uses;
        self.db.touch_keys(keys).await?;
        self.db.touch_sessions(sessions).await?;
        *written = uses;
        self.learn_usage().await
    }

    fn uses_of_keys(&self) -> Uses {
        let stored = self.keys.stored();
        let uses = stored.iter().filter_map(|key| {
            let at = Some(key.state.last_used()).filter(|at| *at > 0)?;
            Some((key.identity.as_ref()?.id.to_string(), at))
        });
        let mut uses: Uses = uses.collect();
        uses.sort();
        uses
    }

    fn uses_of_sessions(&self) -> Uses {
        let living = self.keys.sessions().living(Moment::now());
        let used = |session: &&Arc<Session>| session.last_used_at() > session.record.last_used_at;
        let uses = living.iter().filter(used).map(|one| (one.record.id.clone(), one.last_used_at()));
        let mut uses: Uses = uses.collect();
        uses.sort();
        uses
    }

    /// Adds a key. Requests need one from now on.
    ///
    /// # Errors
    /// The database or the file refuses. If the key was stored before, its secret is lost.
    pub async fn add(&self, record: &KeyRecord) -> Result<(), DbError> {
        // First: a crash between the two leaves a server without keys that needs one, not an open one with keys.
        self.mark()?;
        self.db.insert_key(record).await?;
        self.require().await
    }

    /// Revokes a key. Returns the key, or `None` if there is no such one.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn revoke(&self, id: &str) -> Result<Option<KeyRecord>, DbError> {
        if !self.db.revoke_key(id, Moment::now().time.timestamp()).await? {
            return Ok(None);
        }
        self.changed().await?;
        self.get(id).await
    }

    /// All keys, the oldest first, with their last uses.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn list(&self) -> Result<Vec<KeyRecord>, DbError> {
        let mut records = self.db.keys().await?;
        for key in self.keys.stored() {
            let Some(identity) = &key.identity else { continue };
            let used = Some(key.state.last_used()).filter(|at| *at > 0);
            if let Some(record) = records.iter_mut().find(|record| *record.id == *identity.id) {
                record.last_used_at = record.last_used_at.max(used);
            }
        }
        Ok(records)
    }

    /// The key of this id.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn get(&self, id: &str) -> Result<Option<KeyRecord>, DbError> {
        Ok(self.list().await?.into_iter().find(|record| record.id == id))
    }

    /// Writes a new revision into the file.
    pub(super) fn mark(&self) -> io::Result<()> {
        let revision = secret::generate_id("key").map_err(io::Error::other)?;
        // Replaced as a whole: a reader never sees a part.
        let new = self.marker.with_extension(&revision);
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(OWNER_ONLY).open(&new)?;
        file.write_all(revision.as_bytes())?;
        fs::rename(&new, &self.marker)
    }
}

#[cfg(test)]
mod tests;
