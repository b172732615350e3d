//! The table of stored responses.

use crate::store::{Db, DbError};

/// The maximum number of responses in one conversation.
const MAX_CHAIN: i64 = 1000;

/// A stored response.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StoredResponse {
    /// The response's id.
    pub id: String,
    /// The tenant. Other tenants cannot see the response.
    pub owner: String,
    /// The id of the response that it continues.
    pub previous: Option<String>,
    /// The new input items, as JSON.
    pub input: String,
    /// The response as the API returns it, as JSON.
    pub response: String,
    /// The gateway instance that produces it in the background, while it does.
    #[sqlx(rename = "maker")]
    pub instance: Option<String>,
}

impl Db {
    /// Stores a response created at `now` (seconds since the epoch), or replaces its earlier state. Deletes all responses older
    /// than `seconds`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn store_response(
        &self,
        stored: &StoredResponse,
        now: u64,
        seconds: u64,
    ) -> Result<(), DbError> {
        let signed = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let now = signed(now);
        let oldest = now.saturating_sub(signed(seconds));
        let writer = self.writer().await?;
        sqlx::query("DELETE FROM responses WHERE created_at < ?")
            .bind(oldest)
            .execute(&writer)
            .await
            .map_err(|error| self.failed(error))?;
        let text = "INSERT INTO responses (id, owner, created_at, previous, input, response, maker)
            VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET response = excluded.response";
        let insert = sqlx::query(text).bind(&stored.id).bind(&stored.owner).bind(now).bind(&stored.previous);
        let insert = insert.bind(&stored.input).bind(&stored.response).bind(&stored.instance);
        insert.execute(&writer).await.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Stores the present state of a response that `instance` produces. Does nothing if it has ended or was deleted before.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn update_response(&self, id: &str, instance: &str, response: &str) -> Result<(), DbError> {
        let update = sqlx::query("UPDATE responses SET response = ? WHERE id = ? AND maker = ?");
        let update = update.bind(response).bind(id).bind(instance);
        update.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(())
    }

    /// Stores the end of a response that `instance` produces. Returns false if it has ended or was deleted before.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn finish_response(&self, id: &str, instance: &str, response: &str) -> Result<bool, DbError> {
        let update =
            sqlx::query("UPDATE responses SET response = ?, maker = NULL WHERE id = ? AND maker = ?");
        let update = update.bind(response).bind(id).bind(instance);
        let done = update.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected() > 0)
    }

    /// Whether `instance` still produces a response. False after another gateway has cancelled or deleted it.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn is_produced_by(&self, id: &str, instance: &str) -> Result<bool, DbError> {
        let query = sqlx::query("SELECT 1 FROM responses WHERE id = ? AND maker = ?").bind(id).bind(instance);
        let found = query.fetch_optional(&self.reader().await?).await.map_err(|error| self.failed(error))?;
        Ok(found.is_some())
    }

    /// The response `id` of `owner`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn response(&self, owner: &str, id: &str) -> Result<Option<StoredResponse>, DbError> {
        let text =
            "SELECT id, owner, previous, input, response, maker FROM responses WHERE id = ? AND owner = ?";
        let query = sqlx::query_as(text).bind(id).bind(owner);
        query.fetch_optional(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// The response `id` of `owner` and all responses that it continues, the earliest first.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn response_chain(&self, owner: &str, id: &str) -> Result<Vec<StoredResponse>, DbError> {
        let text = "WITH RECURSIVE chain (id, owner, previous, input, response, maker, depth) AS (
                SELECT id, owner, previous, input, response, maker, 0 FROM responses WHERE id = ? AND owner = ?
                UNION ALL
                SELECT r.id, r.owner, r.previous, r.input, r.response, r.maker, depth + 1
                FROM responses AS r JOIN chain ON r.id = chain.previous AND r.owner = chain.owner WHERE depth < ?
            )
            SELECT id, owner, previous, input, response, maker FROM chain ORDER BY depth DESC";
        let query = sqlx::query_as(text).bind(id).bind(owner).bind(MAX_CHAIN);
        query.fetch_all(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// Deletes a response of `owner`. Returns false if there is none.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete_response(&self, owner: &str, id: &str) -> Result<bool, DbError> {
        let delete = sqlx::query("DELETE FROM responses WHERE id = ? AND owner = ?").bind(id).bind(owner);
        let done = delete.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected() > 0)
    }
}
