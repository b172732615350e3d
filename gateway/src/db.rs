//! The database: all SQL lives here and in db/.

use std::path::Path;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

mod requests;
pub mod responses;

/// A handle to `mlxd.db`.
#[derive(Debug, Clone)]
pub struct Db {
    pool: SqlitePool,
}

/// What the database says is wrong.
#[derive(Debug, thiserror::Error)]
#[error("database: {0}")]
pub struct DbError(#[from] sqlx::Error);

impl Db {
    /// Opens `home/mlxd.db`, making it and bringing its tables up to date.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub async fn open(home: &Path) -> Result<Self, DbError> {
        let options = SqliteConnectOptions::new()
            .filename(home.join("mlxd.db"))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // With WAL this loses at most the last moments at a power cut, and never the file.
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
        sqlx::migrate!("../migrations").run(&pool).await.map_err(sqlx::Error::from)?;
        Ok(Self { pool })
    }

    /// Writes what is pending and closes the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

#[cfg(test)]
mod tests;
