//! The table of the folders that hold the web UI's conversations.

use schemars::JsonSchema;
use serde::Serialize;

use crate::store::{Db, DbError};

/// A folder.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, Serialize, JsonSchema)]
#[schemars(rename = "ChatFolder")]
pub struct Folder {
    /// The id that the page gave it.
    pub id: String,
    /// The name, which no other folder of the owner has.
    pub name: String,
    /// The number of its conversations.
    pub chats: i64,
}

/// Whether something with a name was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It was.
    Yes,
    /// Another one has the name.
    NameTaken,
    /// The owner has as many as are allowed.
    Full,
}

impl Kept {
    /// Reads the outcome of an insertion that adds no row without room.
    pub(super) fn of(db: &Db, done: Result<u64, sqlx::Error>) -> Result<Self, DbError> {
        match done {
            Ok(0) => Ok(Self::Full),
            Ok(_) => Ok(Self::Yes),
            Err(error) if error.as_database_error().is_some_and(|error| error.is_unique_violation()) => {
                Ok(Self::NameTaken)
            }
            Err(error) => Err(db.failed(error)),
        }
    }
}

impl Db {
    /// The folders of `owner`, sorted by name.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn folders(&self, owner: &str) -> Result<Vec<Folder>, DbError> {
        let text = "SELECT id, name, (SELECT COUNT(*) FROM chats WHERE chats.owner = folders.owner AND folder = folders.id) AS chats
             FROM folders WHERE owner = ? ORDER BY name COLLATE NOCASE, name";
        let query = sqlx::query_as(text).bind(owner);
        query.fetch_all(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// Makes a folder of `owner`, or renames the one of this id. The owner has at most `most`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn store_folder(&self, owner: &str, id: &str, name: &str, most: u32) -> Result<Kept, DbError> {
        let text = "INSERT INTO folders (owner, id, name) SELECT ?1, ?2, ?3
             WHERE (SELECT COUNT(*) FROM folders WHERE owner = ?1 AND id <> ?2) < ?4
             ON CONFLICT (owner, id) DO UPDATE SET name = excluded.name";
        let query = sqlx::query(text).bind(owner).bind(id).bind(name).bind(most);
        let done = query.execute(&self.writer().await?).await;
        Kept::of(self, done.map(|done| done.rows_affected()))
    }

    /// Deletes a folder of `owner`. Its conversations are in none from then on. Returns false if there is none of this id.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete_folder(&self, owner: &str, id: &str) -> Result<bool, DbError> {
        let delete = sqlx::query("DELETE FROM folders WHERE owner = ? AND id = ?").bind(owner).bind(id);
        let done = delete.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected() > 0)
    }
}
