//! The database. All SQL is here and in `migrations/`.

pub mod chats;
pub mod contents;
mod file;
pub mod folders;
pub mod instance;
pub mod key_store;
pub mod keys;
pub mod login;
pub mod login_store;
pub mod presets;
pub mod requests;
pub mod responses;
pub mod routing;
pub mod routing_store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::Utc;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection, SqlitePool};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// A handle to `mlxd.db`; clones share it. The first use opens the file. If that fails, each further use tries again.
#[derive(Debug, Clone)]
pub struct Db(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    open: Mutex<Option<Pools>>,
    /// Whether a statement has found the file corrupt.
    corrupt: AtomicBool,
}

/// The connections to one file. With WAL, reading never waits for another program's lock; writing does, so it has connections of
/// its own.
#[derive(Debug, Clone)]
struct Pools {
    reader: SqlitePool,
    /// SQLite lets one connection write at a time.
    writer: SqlitePool,
    file: Option<file::FileId>,
}

/// Limit of waiting for a connection or a lock.
const TIMEOUT: Duration = Duration::from_secs(5);
const MAX_READERS: u32 = 4;
/// Times that the tables are migrated. If the gateway and `mlxd key` both do it, one fails, and finds them migrated a little later.
const MIGRATIONS: u32 = 12;
/// Time between two of them.
const MIGRATION_PAUSE: Duration = Duration::from_millis(50);

/// An error of the database.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// SQLite refuses.
    #[error("database: {0}")]
    Sql(#[from] sqlx::Error),
    /// The file cannot be used.
    #[error("database: {0}")]
    File(#[from] io::Error),
    /// It is still being opened.
    #[error("database: it could not be opened within {} s", TIMEOUT.as_secs())]
    Late,
}

impl DbError {
    /// Whether another program holds a lock, or the disk is too slow. The same may succeed later.
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Sql(sqlx::Error::PoolTimedOut) | Self::Late => true,
            // SQLITE_BUSY and SQLITE_LOCKED.
            Self::Sql(error) => matches!(primary_code(error), Some(5 | 6)),
            Self::File(_) => false,
        }
    }

    /// Whether another program may have opened the file or migrated the tables at the same time. SQLite does not wait for a lock
    /// where a new file becomes one with WAL: of several programs one goes on, and the others are refused at once.
    fn is_migration_race(&self) -> bool {
        let is_migration = matches!(self, Self::Sql(sqlx::Error::Migrate(_)));
        self.is_temporary() || (is_migration && !self.is_corruption())
    }

    fn is_corruption(&self) -> bool {
        // SQLITE_CORRUPT and SQLITE_NOTADB.
        matches!(self, Self::Sql(error) if matches!(primary_code(error), Some(11 | 26)))
    }
}

/// SQLite's result code, without what extends it.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    if let sqlx::Error::Migrate(failed) = error {
        return match &**failed {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => primary_code(error),
            _ => None,
        };
    }
    let code: u32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(code & 0xff)
}

impl Db {
    /// The database `home/mlxd.db`.
    pub fn new(home: &Path) -> Self {
        let (open, corrupt) = (Mutex::default(), AtomicBool::new(false));
        Self(Arc::new(Shared { path: home.join("mlxd.db"), open, corrupt }))
    }

    /// Opens the database if it is not open: creates the file and migrates its tables. A corrupt file is set aside, and a new one
    /// begins.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub async fn open(&self) -> Result<(), DbError> {
        self.pools().await.map(drop)
    }

    /// Opens the database beside serving: requests do not wait for a lock or a slow disk. Needs a runtime.
    pub fn open_in_background(&self) {
        let this = self.clone();
        tokio::spawn(async move {
            if let Err(error) = this.open().await {
                let text = "until the database can be opened no request is recorded and no response kept";
                tracing::error!(%error, "{text}");
            }
        });
    }

    async fn reader(&self) -> Result<SqlitePool, DbError> {
        Ok(self.pools().await?.reader)
    }

    async fn writer(&self) -> Result<SqlitePool, DbError> {
        Ok(self.pools().await?.writer)
    }

    async fn pools(&self) -> Result<Pools, DbError> {
        // One caller opens it. The others wait no longer than for a lock.
        timeout(TIMEOUT, self.0.pools()).await.map_err(|_| DbError::Late)?
    }

    /// Notes what a failed statement says about the file. Returns the error.
    fn failed(&self, error: sqlx::Error) -> DbError {
        let error = DbError::from(error);
        if error.is_corruption() {
            self.0.corrupt.store(true, Ordering::Relaxed);
        }
        error
    }

    /// A connection for changes of several statements. Nothing else uses it, so that a failed commit confuses no other statement.
    /// A commit reaches the disk: a master key that a change depends on is deleted after it.
    async fn dedicated(&self) -> Result<SqliteConnection, DbError> {
        self.pools().await?;
        let options = self.0.options().synchronous(SqliteSynchronous::Full);
        options.connect().await.map_err(|error| self.failed(error))
    }

    /// Completes pending writes and closes the file.
    pub async fn close(&self) {
        if let Some(pools) = self.0.open.lock().await.take() {
            pools.close().await;
        }
    }
}

impl Shared {
    async fn pools(&self) -> Result<Pools, DbError> {
        let mut open = self.open.lock().await;
        if self.corrupt.swap(false, Ordering::Relaxed)
            && let Some(pools) = open.take()
        {
            // During a restart the other gateway may have begun a new file already.
            if pools.file == file::id(&self.path) {
                self.set_aside()?;
            }
            tokio::spawn(async move { pools.close().await });
        }
        if let Some(pools) = &*open {
            return Ok(pools.clone());
        }
        match self.migrate().await {
            Err(error) if error.is_corruption() => {
                self.set_aside()?;
                self.migrate().await?;
            }
            done => done?,
        }
        Ok(open.insert(self.connect()).clone())
    }

    fn connect(&self) -> Pools {
        let pool = |connections| {
            let options = SqlitePoolOptions::new().max_connections(connections).acquire_timeout(TIMEOUT);
            options.connect_lazy_with(self.options())
        };
        Pools { reader: pool(MAX_READERS), writer: pool(1), file: file::id(&self.path) }
    }

    fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new()
            .filename(&self.path)
            .journal_mode(SqliteJournalMode::Wal)
            // With WAL a power cut loses at most the last transactions, and never corrupts the file.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(TIMEOUT)
    }

    async fn migrate(&self) -> Result<(), DbError> {
        for _ in 1..MIGRATIONS {
            match self.migrate_once().await {
                Err(error) if error.is_migration_race() => tokio::time::sleep(MIGRATION_PAUSE).await,
                done => return done,
            }
        }
        self.migrate_once().await
    }

    /// Uses a connection of its own: after a commit that fails on a full disk, sqlx has a wrong view of the open transaction.
    async fn migrate_once(&self) -> Result<(), DbError> {
        file::prepare(&self.path)?;
        let options = SqlitePoolOptions::new().max_connections(1).acquire_timeout(TIMEOUT);
        let pool = options.connect_with(self.options()).await?;
        let done = sqlx::migrate!("../migrations").run(&pool).await.map_err(sqlx::Error::from);
        pool.close().await;
        Ok(done?)
    }

    fn set_aside(&self) -> Result<(), DbError> {
        let aside = file::set_aside(&self.path, Utc::now())?;
        let (path, aside) = (self.path.display(), aside.display());
        tracing::warn!(
            "{path} is corrupt: it is {aside} now, and an empty database begins without its responses"
        );
        Ok(())
    }
}

impl Pools {
    async fn close(&self) {
        tokio::join!(self.reader.close(), self.writer.close());
    }
}

#[cfg(test)]
mod tests;
