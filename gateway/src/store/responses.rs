//! Responses that clients asked to keep.

use crate::store::{Db, DbError};

/// Responses that one conversation can go back over.
const MAX_CHAIN: i64 = 1000;

/// A stored response.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Stored {
    /// Its id.
    pub id: String,
    /// Whose it is: nobody else is told that it is there.
    pub owner: String,
    /// The response that it goes on from.
    pub previous: Option<String>,
    /// JSON: the items that were new.
    pub input: String,
    /// JSON: as the API gives it.
    pub response: String,
    /// The gateway that makes it while nobody waits.
    pub maker: Option<String>,
}

impl Db {
    /// Keeps a response of now, in the place of an earlier state of it; those of more than `seconds` ago go.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn keep_response(&self, stored: &Stored, now: u64, seconds: u64) -> Result<(), DbError> {
        let whole = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        let now = whole(now);
        let old = now.saturating_sub(whole(seconds));
        sqlx::query("DELETE FROM responses WHERE created_at < ?")
            .bind(old)
            .execute(self.pool().await?)
            .await?;
        let text = "INSERT INTO responses (id, owner, created_at, previous, input, response, maker)
            VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET response = excluded.response";
        let insert = sqlx::query(text).bind(&stored.id).bind(&stored.owner).bind(now).bind(&stored.previous);
        let insert = insert.bind(&stored.input).bind(&stored.response).bind(&stored.maker);
        insert.execute(self.pool().await?).await?;
        Ok(())
    }

    /// Keeps the end of a response that `maker` makes; false where it was ended or deleted before.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_response(&self, id: &str, maker: &str, response: &str) -> Result<bool, DbError> {
        let update =
            sqlx::query("UPDATE responses SET response = ?, maker = NULL WHERE id = ? AND maker = ?");
        let done = update.bind(response).bind(id).bind(maker).execute(self.pool().await?).await?;
        Ok(done.rows_affected() > 0)
    }

    /// Whether a response is still `maker`'s to make.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn is_made_by(&self, id: &str, maker: &str) -> Result<bool, DbError> {
        let query = sqlx::query("SELECT 1 FROM responses WHERE id = ? AND maker = ?").bind(id).bind(maker);
        Ok(query.fetch_optional(self.pool().await?).await?.is_some())
    }

    /// A response of `owner` by its id.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn response(&self, owner: &str, id: &str) -> Result<Option<Stored>, DbError> {
        let text =
            "SELECT id, owner, previous, input, response, maker FROM responses WHERE id = ? AND owner = ?";
        Ok(sqlx::query_as(text).bind(id).bind(owner).fetch_optional(self.pool().await?).await?)
    }

    /// A response of `owner` and those it goes on from, the earliest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn response_chain(&self, owner: &str, id: &str) -> Result<Vec<Stored>, DbError> {
        let text = "WITH RECURSIVE chain (id, owner, previous, input, response, maker, depth) AS (
                SELECT id, owner, previous, input, response, maker, 0 FROM responses WHERE id = ? AND owner = ?
                UNION ALL
                SELECT r.id, r.owner, r.previous, r.input, r.response, r.maker, depth + 1
                FROM responses AS r JOIN chain ON r.id = chain.previous AND r.owner = chain.owner WHERE depth < ?
            )
            SELECT id, owner, previous, input, response, maker FROM chain ORDER BY depth DESC";
        Ok(sqlx::query_as(text).bind(id).bind(owner).bind(MAX_CHAIN).fetch_all(self.pool().await?).await?)
    }

    /// Forgets a response of `owner`; false where there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn delete_response(&self, owner: &str, id: &str) -> Result<bool, DbError> {
        let delete = sqlx::query("DELETE FROM responses WHERE id = ? AND owner = ?").bind(id).bind(owner);
        Ok(delete.execute(self.pool().await?).await?.rows_affected() > 0)
    }
}
