//! The table of the web UI's conversations.

use schemars::JsonSchema;
use serde::Serialize;
use sqlx::QueryBuilder;
use sqlx::sqlite::Sqlite;

use crate::store::{Db, DbError};

/// The columns of a [`ChatSummary`].
const SELECT: &str = "SELECT id, title, pinned, folder, created_at AS created_at_ms, updated_at AS updated_at_ms, revision FROM chats ";

/// A conversation without its turns.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow, Serialize, JsonSchema)]
pub struct ChatSummary {
    /// The name that the page gave it.
    pub id: String,
    /// The title.
    pub title: String,
    /// Whether it stands before the others.
    pub pinned: bool,
    /// The id of its folder; empty for none.
    pub folder: String,
    /// Milliseconds since the epoch.
    pub created_at_ms: i64,
    /// Milliseconds since the epoch.
    pub updated_at_ms: i64,
    /// The number of changes so far.
    pub revision: i64,
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Chat {
    /// All but the turns.
    #[sqlx(flatten)]
    pub summary: ChatSummary,
    /// The turns, as JSON.
    pub body: String,
}

/// The place of a conversation in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatCursor {
    /// Whether it is pinned.
    pub pinned: bool,
    /// Its last change.
    pub updated_at_ms: i64,
    /// Its id.
    pub id: String,
}

/// A conversation to store.
#[derive(Debug)]
pub struct ChatChange<'a> {
    /// The id.
    pub id: &'a str,
    /// The title.
    pub title: &'a str,
    /// Whether it stands before the others.
    pub pinned: bool,
    /// The revision that the change is based on; 0 for a new conversation.
    pub revision: i64,
    /// The turns, as JSON.
    pub body: &'a str,
}

/// Which conversations to list.
#[derive(Debug, Default)]
pub struct ChatFilter<'a> {
    /// Only those that have the text in their title or in a `text` of their turns. Letters of ASCII match in either case.
    pub search: Option<&'a str>,
    /// Only those of this folder; empty for those of none.
    pub folder: Option<&'a str>,
    /// Only those behind this place.
    pub after: Option<&'a ChatCursor>,
    /// Rows at most.
    pub limit: u32,
}

/// A change of what stands in the list. `None` changes nothing.
#[derive(Debug, Default)]
pub struct ChatLabels<'a> {
    /// The title.
    pub title: Option<&'a str>,
    /// Whether it stands before the others.
    pub pinned: Option<bool>,
    /// The id of its folder; empty for none.
    pub folder: Option<&'a str>,
}

/// The number and the size of an owner's conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::FromRow)]
pub struct ChatUse {
    /// Conversations.
    pub chats: i64,
    /// Bytes of their turns.
    pub bytes: i64,
}

impl Db {
    /// The conversations of `owner`, pinned ones first, then the latest.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn chats(&self, owner: &str, filter: &ChatFilter<'_>) -> Result<Vec<ChatSummary>, DbError> {
        let ChatFilter { search, folder, after, limit } = *filter;
        let mut query = QueryBuilder::<Sqlite>::new(SELECT);
        query.push("WHERE owner = ").push_bind(owner.to_owned());
        if let Some(folder) = folder {
            query.push(" AND folder = ").push_bind(folder.to_owned());
        }
        if let Some(search) = search {
            let search = search.to_ascii_lowercase();
            query.push(" AND (instr(lower(title), ").push_bind(search.clone());
            query.push(
                ") > 0 OR EXISTS (SELECT 1 FROM json_tree(body) WHERE key = 'text' AND instr(lower(value), ",
            );
            query.push_bind(search).push(") > 0))");
        }
        if let Some(ChatCursor { pinned, updated_at_ms, id }) = after {
            query.push(" AND (pinned, updated_at, id) < (").push_bind(*pinned);
            query.push(", ").push_bind(*updated_at_ms).push(", ").push_bind(id.clone()).push(")");
        }
        query.push(" ORDER BY pinned DESC, updated_at DESC, id DESC LIMIT ").push_bind(limit);
        let query = query.build_query_as();
        query.fetch_all(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// A conversation of `owner`.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn chat(&self, owner: &str, id: &str) -> Result<Option<Chat>, DbError> {
        let text = "SELECT id, title, pinned, folder, created_at AS created_at_ms, updated_at AS updated_at_ms, revision, body FROM chats
             WHERE owner = ? AND id = ?";
        let query = sqlx::query_as(text).bind(owner).bind(id);
        query.fetch_optional(&self.reader().await?).await.map_err(|error| self.failed(error))
    }

    /// Stores a conversation at `now` (milliseconds since the epoch). Returns `None` if its stored revision is another one.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn store_chat(
        &self,
        owner: &str,
        chat: &ChatChange<'_>,
        now: i64,
    ) -> Result<Option<ChatSummary>, DbError> {
        let text = if chat.revision == 0 {
            "INSERT INTO chats (title, pinned, body, updated_at, owner, id, revision, created_at, bytes, folder)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7 + 1, ?4, ?8, '') ON CONFLICT DO NOTHING
             RETURNING id, title, pinned, folder, created_at AS created_at_ms, updated_at AS updated_at_ms, revision"
        } else {
            "UPDATE chats SET title = ?1, pinned = ?2, body = ?3, updated_at = ?4, revision = revision + 1, bytes = ?8
             WHERE owner = ?5 AND id = ?6 AND revision = ?7
             RETURNING id, title, pinned, folder, created_at AS created_at_ms, updated_at AS updated_at_ms, revision"
        };
        let query = sqlx::query_as(text).bind(chat.title).bind(chat.pinned).bind(chat.body).bind(now);
        let query = query.bind(owner).bind(chat.id).bind(chat.revision);
        let query = query.bind(i64::try_from(chat.body.len()).unwrap_or(i64::MAX));
        query.fetch_optional(&self.writer().await?).await.map_err(|error| self.failed(error))
    }

    /// Renames, pins or moves a conversation of `owner`. Its place in time stays. Returns `None` if there is no such conversation, or
    /// no such folder.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn mark_chat(
        &self,
        owner: &str,
        id: &str,
        labels: &ChatLabels<'_>,
    ) -> Result<Option<ChatSummary>, DbError> {
        let text = "UPDATE chats SET title = COALESCE(?1, title), pinned = COALESCE(?2, pinned), folder = COALESCE(?3, folder),
                    revision = revision + 1
             WHERE owner = ?4 AND id = ?5
               AND (COALESCE(?3, '') = '' OR EXISTS (SELECT 1 FROM folders WHERE owner = ?4 AND id = ?3))
             RETURNING id, title, pinned, folder, created_at AS created_at_ms, updated_at AS updated_at_ms, revision";
        let query = sqlx::query_as(text).bind(labels.title).bind(labels.pinned).bind(labels.folder);
        let query = query.bind(owner).bind(id);
        query.fetch_optional(&self.writer().await?).await.map_err(|error| self.failed(error))
    }

    /// Deletes a conversation of `owner`. Returns false if there is none.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn delete_chat(&self, owner: &str, id: &str) -> Result<bool, DbError> {
        let delete = sqlx::query("DELETE FROM chats WHERE owner = ? AND id = ?").bind(owner).bind(id);
        let done = delete.execute(&self.writer().await?).await.map_err(|error| self.failed(error))?;
        Ok(done.rows_affected() > 0)
    }

    /// The conversations of `owner` besides `id`, counted.
    ///
    /// # Errors
    /// The database refuses.
    pub async fn chat_use(&self, owner: &str, id: &str) -> Result<ChatUse, DbError> {
        let text = "SELECT COUNT(*) AS chats, COALESCE(SUM(bytes), 0) AS bytes FROM chats WHERE owner = ? AND id <> ?";
        let query = sqlx::query_as(text).bind(owner).bind(id);
        query.fetch_one(&self.reader().await?).await.map_err(|error| self.failed(error))
    }
}

#[cfg(test)]
mod tests;
