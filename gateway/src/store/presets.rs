//! The table of the web UI's presets.

use super::folders::Kept;
use crate::store::{Db, DbError};

/// A named system prompt with parameters.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Preset {
    /// The id that the page gave it.
    pub id: String,
    /// The name, which no other preset of the owner has.
    pub name: String,
    /// What it sets, as JSON.
    pub body: String,
}

impl Db {
    /// The presets of `owner`, sorted by name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn presets(&self, owner: &str) -> Result<Vec<Preset>, DbError> {
        let text = "SELECT id, name, body FROM presets WHERE owner = ? ORDER BY name COLLATE NOCASE, name";
        let query = sqlx::query_as(text).bind(owner);
        query.fetch_all(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// Stores a preset of `owner`, in the place of the one of its id. The owner has at most `most`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn store_preset(&self, owner: &str, preset: &Preset, most: u32) -> Result<Kept, DbError> {
        let text = "INSERT INTO presets (owner, id, name, body) SELECT ?1, ?2, ?3, ?4
             WHERE (SELECT COUNT(*) FROM presets WHERE owner = ?1 AND id <> ?2) < ?5
             ON CONFLICT (owner, id) DO UPDATE SET name = excluded.name, body = excluded.body";
        let query = sqlx::query(text).bind(owner).bind(&preset.id).bind(&preset.name).bind(&preset.body);
        let done = query.bind(most).execute(&self.writer().await?).await;
        Kept::of(self, done.map(|done| done.rows_affected()))
    }

    /// Deletes a preset of `owner`. Returns false if there is none of this id.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete_preset(&self, owner: &str, id: &str) -> Result<bool, DbError> {
        let delete = sqlx::query("DELETE FROM presets WHERE owner = ? AND id = ?").bind(owner).bind(id);
        let done = delete.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected() > 0)
    }
}
