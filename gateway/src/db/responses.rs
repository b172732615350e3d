//! Responses that clients asked to keep.

use super::{Db, DbError};

/// How long a response is kept, in seconds: thirty days.
const KEPT_SECONDS: i64 = 30 * 24 * 3600;
/// Responses that one conversation can go back over.
const MAX_CHAIN: i64 = 1000;

/// A stored response.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// The response that it goes on from.
    pub previous: Option<String>,
    /// JSON: the items that were new.
    pub input: String,
    /// JSON: as the API gives it.
    pub response: String,
}

impl Db {
    /// Keeps a response of now, in the place of an earlier state of it; those that were kept long enough go.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keep_response(&self, stored: &Stored, now: u64) -> Result<(), DbError> {
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let old = now.saturating_sub(KEPT_SECONDS);
        sqlx::query("DELETE FROM responses WHERE created_at < ?").bind(old).execute(&self.pool).await?;
        let text = "INSERT INTO responses (id, created_at, previous, input, response) VALUES (?, ?, ?, ?, ?)
            ON CONFLICT (id) DO UPDATE SET response = excluded.response";
        let insert = sqlx::query(text).bind(&stored.id).bind(now).bind(&stored.previous);
        insert.bind(&stored.input).bind(&stored.response).execute(&self.pool).await?;
        Ok(())
    }

    /// Replaces what is known of a kept response; nothing where it was deleted meanwhile.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn update_response(&self, id: &str, response: &str) -> Result<(), DbError> {
        let update = sqlx::query("UPDATE responses SET response = ? WHERE id = ?");
        update.bind(response).bind(id).execute(&self.pool).await?;
        Ok(())
    }

    /// A response by its id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn response(&self, id: &str) -> Result<Option<Stored>, DbError> {
        let text = "SELECT id, previous, input, response FROM responses WHERE id = ?";
        Ok(sqlx::query_as(text).bind(id).fetch_optional(&self.pool).await?)
    }

    /// A response and those it goes on from, the earliest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn response_chain(&self, id: &str) -> Result<Vec<Stored>, DbError> {
        let text = "WITH RECURSIVE chain (id, previous, input, response, depth) AS (
                SELECT id, previous, input, response, 0 FROM responses WHERE id = ?
                UNION ALL
                SELECT r.id, r.previous, r.input, r.response, depth + 1
                FROM responses AS r JOIN chain ON r.id = chain.previous WHERE depth < ?
            )
            SELECT id, previous, input, response FROM chain ORDER BY depth DESC";
        Ok(sqlx::query_as(text).bind(id).bind(MAX_CHAIN).fetch_all(&self.pool).await?)
    }

    /// Forgets a response; false where there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_response(&self, id: &str) -> Result<bool, DbError> {
        let delete = sqlx::query("DELETE FROM responses WHERE id = ?").bind(id).execute(&self.pool).await?;
        Ok(delete.rows_affected() > 0)
    }
}
