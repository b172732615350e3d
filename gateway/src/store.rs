//! The database: all SQL lives here and in db/.

pub mod instance;
pub mod requests;
pub mod responses;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use tokio::sync::OnceCell;

/// A handle to `mlxd.db`, which is opened when it is first used; while that fails, each use tries again.
#[derive(Debug, Clone)]
pub struct Db {
    pool: SqlitePool,
    /// Whether the tables are up to date.
    ready: Arc<OnceCell<()>>,
}

/// Nobody waits longer for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// What the database says is wrong.
#[derive(Debug, thiserror::Error)]
#[error("database: {0}")]
pub struct DbError(#[from] sqlx::Error);

impl Db {
    /// The database `home/mlxd.db`. Must be called on a tokio runtime.
    pub fn new(home: &Path) -> Self {
        let options = SqliteConnectOptions::new()
            .filename(home.join("mlxd.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With WAL this loses at most the last moments at a power cut, and never the file.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(PATIENCE);
        let pool =
            SqlitePoolOptions::new().max_connections(2).acquire_timeout(PATIENCE).connect_lazy_with(options);
        Self { pool, ready: Arc::default() }
    }

    /// Opens it where that has not been done, making it and bringing its tables up to date.
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

    /// On connections of its own: after a commit that a full disk refused sqlx is wrong about what is open on one.
    async fn migrate(&self) -> Result<(), DbError> {
        let options = self.pool.connect_options().as_ref().clone();
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_with(options)
            .await?;
        let done = sqlx::migrate!("../migrations").run(&pool).await.map_err(sqlx::Error::from);
        pool.close().await;
        Ok(done?)
    }

    /// Writes what is pending and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests;
