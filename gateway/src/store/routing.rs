//! The tables of providers and routes.

use sqlx::{Connection, SqliteConnection};

use crate::store::{Db, DbError};

/// A provider as the database holds it. Times are seconds since the epoch.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ProviderRow {
    /// Its name.
    pub name: String,
    /// Its settings without the API key, as JSON.
    pub document: String,
    /// The API key, sealed by the master key.
    pub sealed_key: Option<Vec<u8>>,
    /// The end of the API key.
    pub last_four: Option<String>,
    /// Whether its models are offered.
    pub enabled: bool,
    /// Its creation, in seconds since the epoch.
    pub created_at: i64,
    /// Its last change, in seconds since the epoch.
    pub updated_at: i64,
}

/// The providers and routes of the database.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredRouting {
    /// Counts all changes.
    pub revision: i64,
    /// The routes, as a list in JSON.
    pub routes: String,
    /// Counts the changes of routes.
    pub routes_revision: i64,
    /// The providers by their names.
    pub providers: Vec<ProviderRow>,
}

/// A change of providers and routes. Other changes wait until it is committed or dropped. Dropping it changes nothing.
#[derive(Debug)]
pub struct RoutingChange {
    db: Db,
    connection: SqliteConnection,
}

impl Db {
    /// The number of changes of providers and routes.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn routing_revision(&self) -> Result<i64, DbError> {
        let query = sqlx::query_scalar("SELECT revision FROM routing");
        query.fetch_one(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// The providers and routes.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn routing(&self) -> Result<StoredRouting, DbError> {
        // One transaction, so that all is of one revision.
        let mut reading = self.reader().await?.begin().await.map_err(|error| self.failed(error))?;
        read(&mut reading).await.map_err(|error| self.failed(error))
    }

    /// Begins a change of providers and routes. Waits for other changes.
    ///
    /// # Errors
    /// The database refuses, or is locked for too long.
    pub async fn change_routing(&self) -> Result<RoutingChange, DbError> {
        let connection = self.dedicated().await?;
        let mut change = RoutingChange { db: self.clone(), connection };
        change.run("BEGIN IMMEDIATE").await?;
        Ok(change)
    }
}

impl RoutingChange {
    /// The providers and routes, changed so far.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn read(&mut self) -> Result<StoredRouting, DbError> {
        read(&mut self.connection).await.map_err(|error| self.db.failed(error))
    }

    /// Adds a provider, or replaces the one of its name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn put_provider(&mut self, row: &ProviderRow) -> Result<(), DbError> {
        let text = "INSERT OR REPLACE INTO providers \
                    (name, document, sealed_key, last_four, enabled, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)";
        let put = sqlx::query(text)
            .bind(&row.name)
            .bind(&row.document)
            .bind(&row.sealed_key)
            .bind(&row.last_four)
            .bind(row.enabled)
            .bind(row.created_at)
            .bind(row.updated_at);
        put.execute(&mut self.connection).await.map(drop).map_err(|error| self.db.failed(error))
    }

    /// Removes a provider.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn remove_provider(&mut self, name: &str) -> Result<(), DbError> {
        let remove = sqlx::query("DELETE FROM providers WHERE name = ?").bind(name);
        remove.execute(&mut self.connection).await.map(drop).map_err(|error| self.db.failed(error))
    }

    /// Replaces the routes, a list in JSON.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn set_routes(&mut self, routes: &str) -> Result<(), DbError> {
        let text = "UPDATE routing SET routes = ?, routes_revision = routes_revision + 1";
        let set = sqlx::query(text).bind(routes);
        set.execute(&mut self.connection).await.map(drop).map_err(|error| self.db.failed(error))
    }

    /// Makes the change, and counts it. It is on the disk afterwards.
    ///
    /// # Errors
    /// The database refuses. Nothing has changed.
    pub async fn commit(mut self) -> Result<(), DbError> {
        self.run("UPDATE routing SET revision = revision + 1").await?;
        self.run("COMMIT").await?;
        // The change is made, even if closing fails.
        let _ = self.connection.close().await;
        Ok(())
    }

    async fn run(&mut self, statement: &'static str) -> Result<(), DbError> {
        let done = sqlx::raw_sql(statement).execute(&mut self.connection).await;
        done.map(drop).map_err(|error| self.db.failed(error))
    }
}

async fn read(connection: &mut SqliteConnection) -> Result<StoredRouting, sqlx::Error> {
    let text = "SELECT revision, routes, routes_revision FROM routing";
    let (revision, routes, routes_revision): (i64, String, i64) =
        sqlx::query_as(text).fetch_one(&mut *connection).await?;
    let all = "SELECT name, document, sealed_key, last_four, enabled, created_at, updated_at FROM providers ORDER BY name";
    let providers = sqlx::query_as(all).fetch_all(&mut *connection).await?;
    Ok(StoredRouting { revision, routes, routes_revision, providers })
}
