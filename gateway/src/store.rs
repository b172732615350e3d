//! The database. All SQL is here and in `migrations/`.

pub mod instance;
pub mod requests;
pub mod responses;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::OnceCell;

/// A handle to `mlxd.db`. The first use opens the file. If that fails, each further use tries again.
#[derive(Debug, Clone)]
pub struct Db {
    pool: SqlitePool,
    /// Whether the tables are up to date.
    ready: Arc<OnceCell<()>>,
}

/// Limit of waiting for a connection or a lock.
const TIMEOUT: Duration = Duration::from_secs(5);

/// An error of the database.
#[derive(Debug, thiserror::Error)]
#[error("database: {0}")]
pub struct DbError(#[from] sqlx::Error);

impl Db {
    /// The database `home/mlxd.db`. Call it on a tokio runtime.
    pub fn new(home: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(home.join("mlxd.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With WAL a power cut loses at most the last transactions, and never corrupts the file.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(TIMEOUT);
        let pool =
            SqlitePoolOptions::new().max_connections(2).acquire_timeout(TIMEOUT).connect_lazy_with(options);
        Self { pool, ready: Arc::default() }
    }

    /// Opens the database if it is not open: creates the file and migrates its tables.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub async fn open(&self) -> Result<(), DbError> {
        self.pool().await.map(drop)
    }

    async fn pool(&self) -> Result<&SqlitePool, DbError> {
        self.ready.get_or_try_init(|| self.migrate()).await?;
        Ok(&self.pool)
    }

    /// Uses a connection of its own: after a commit that fails on a full disk, sqlx has a wrong view of the open transaction.
    async fn migrate(&self) -> Result<(), DbError> {
        let options = self.pool.connect_options().as_ref().clone();
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(TIMEOUT)
            .connect_with(options)
            .await?;
        let done = sqlx::migrate!("../migrations").run(&pool).await.map_err(sqlx::Error::from);
        pool.close().await;
        Ok(done?)
    }

    /// Completes pending writes and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests;
