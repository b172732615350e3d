//! The web UI's conversations. A key sees its own. Keys with the scope `admin` share one history, which is also that of a server
//! without keys: it stays when the first key is made, and when an administrator's key is replaced.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use chrono::Utc;
use ipc_proto::{Error, ErrorKind, Origin, Result};

use super::chat_wire::{Chat, ChatInput, ChatMark, ChatQuery, ChatSummaries};
use crate::access::Tenant;
use crate::protocols::common::body;
use crate::protocols::error::{ApiError, unroutable};
use crate::store::chats::{ChatChange, ChatCursor, ChatFilter, ChatLabels, ChatSummary, ChatUse};
use crate::store::{Db, DbError};

const DEFAULT_PAGE: u32 = 50;
const MAX_PAGE: u32 = 200;
const MAX_ID_BYTES: usize = 64;
const MAX_TITLE_CHARS: usize = 200;
/// The largest conversation with its envelope, in bytes.
const MAX_CHAT_BYTES: usize = 4 << 20;
/// The limits of one owner.
const MOST: ChatUse = ChatUse { chats: 10_000, bytes: 1 << 30 };

/// `GET /ui/v1/chats`.
///
/// # Errors
/// An invalid query; the database refuses.
pub async fn list(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    query: Result<Query<ChatQuery>, QueryRejection>,
) -> Result<Json<ChatSummaries>, ApiError> {
    let Query(ChatQuery { search, folder, after, limit }) =
        query.map_err(|e| Error::invalid("limit", e.body_text()))?;
    let limit = limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Error::invalid("limit", format!("limit must be between 1 and {MAX_PAGE}")).into());
    }
    let after = after.as_deref().map(cursor).transpose()?;
    let (search, folder) = (search.as_deref(), folder.as_deref());
    let filter = ChatFilter { search, folder, after: after.as_ref(), limit: limit + 1 };
    let found = db.chats(owner(&tenant), &filter).await;
    let mut chats = found.map_err(|error| refused(&error))?;
    let has_more = chats.len() > limit as usize;
    chats.truncate(limit as usize);
    let next = chats.last().filter(|_| has_more).map(place);
    Ok(Json(ChatSummaries { chats, next }))
}

/// `GET /ui/v1/chats/{id}`.
pub async fn get(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Response {
    let chat = db.chat(owner(&tenant), &id).await;
    // The page wrote an object.
    let parse = |body: String| serde_json::from_str(&body).unwrap_or_default();
    respond(&id, chat.map(|chat| chat.map(|chat| Chat { summary: chat.summary, body: parse(chat.body) })))
}

/// `PUT /ui/v1/chats/{id}`: stores a conversation. Answers 409 if another page has changed it since the revision was read.
///
/// # Errors
/// A wrong field, no room, the database refuses.
pub async fn put(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let input: ChatInput = body::json_within(request, MAX_CHAT_BYTES).await?;
    check_id(&id)?;
    let title = check_title(&input.title)?;
    if !input.body.is_object() {
        return Err(Error::invalid("body", "body must be an object").into());
    }
    let (owner, body) = (owner(&tenant), input.body.to_string());
    let others = db.chat_use(owner, &id).await.map_err(|error| refused(&error))?;
    check_room(others, body.len())?;
    let revision = i64::from(input.revision);
    let chat = ChatChange { id: &id, title, pinned: input.pinned, revision, body: &body };
    let stored = db.store_chat(owner, &chat, Utc::now().timestamp_millis()).await;
    Ok(match stored.map_err(|error| refused(&error))? {
        Some(stored) => Json(stored).into_response(),
        None => unroutable(
            StatusCode::CONFLICT,
            format!("revision {revision} of the conversation \"{id}\" is not the stored one: read it again"),
        ),
    })
}

/// `PATCH /ui/v1/chats/{id}`: renames, pins or moves a conversation.
///
/// # Errors
/// A wrong title.
pub async fn mark(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let ChatMark { title, pinned, folder } = body::json(request).await?;
    let title = title.as_deref().map(check_title).transpose()?;
    let labels = ChatLabels { title, pinned, folder: folder.as_deref() };
    let marked = db.mark_chat(owner(&tenant), &id, &labels).await;
    Ok(match (marked, folder) {
        (Ok(None), Some(folder)) if !folder.is_empty() => unroutable(
            StatusCode::NOT_FOUND,
            format!("there is no conversation \"{id}\", or no folder \"{folder}\""),
        ),
        (marked, _) => respond(&id, marked),
    })
}

/// `DELETE /ui/v1/chats/{id}`.
pub async fn delete(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Response {
    let done = db.delete_chat(owner(&tenant), &id).await;
    respond(&id, done.map(|done| done.then(|| serde_json::json!({"id": id, "deleted": true}))))
}

fn respond(id: &str, found: Result<Option<impl serde::Serialize>, DbError>) -> Response {
    match found {
        Ok(Some(found)) => Json(found).into_response(),
        Ok(None) => unroutable(StatusCode::NOT_FOUND, format!("there is no conversation \"{id}\"")),
        Err(error) => ApiError(refused(&error)).into_response(),
    }
}

/// The owner in the tables of the page.
pub(super) fn owner(tenant: &Tenant) -> &str {
    if tenant.is_admin() { "" } else { tenant.name() }
}

pub(super) fn check_id(id: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.chars().all(is_plain) {
        return Ok(());
    }
    let text = format!("id must have 1 to {MAX_ID_BYTES} letters, digits, - or _");
    Err(Error::invalid("id", text))
}

fn check_title(title: &str) -> Result<&str> {
    let title = title.trim();
    if (1..=MAX_TITLE_CHARS).contains(&title.chars().count()) {
        return Ok(title);
    }
    Err(Error::invalid("title", format!("title must have 1 to {MAX_TITLE_CHARS} characters")))
}

/// Whether a conversation of `bytes` has room beside the others.
fn check_room(others: ChatUse, bytes: usize) -> Result<()> {
    let bytes = others.bytes.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
    if others.chats < MOST.chats && bytes <= MOST.bytes {
        return Ok(());
    }
    let text = format!(
        "there is no room for this conversation: the others are {} of at most {}, and all together would have {bytes} of at \
         most {} bytes. Delete some",
        others.chats, MOST.chats, MOST.bytes
    );
    Err(Error::new(ErrorKind::TooLarge, Origin::Client, text))
}

fn place(chat: &ChatSummary) -> String {
    format!("{}.{}.{}", u8::from(chat.pinned), chat.updated_at_ms, chat.id)
}

fn cursor(text: &str) -> Result<ChatCursor> {
    let parse = || {
        let (pinned, rest) = text.split_once('.')?;
        let (time, id) = rest.split_once('.')?;
        Some(ChatCursor { pinned: pinned == "1", updated_at_ms: time.parse().ok()?, id: id.to_owned() })
    };
    parse().ok_or_else(|| Error::invalid("after", "after must be the next of an earlier page"))
}

pub(super) fn refused(error: &DbError) -> Error {
    tracing::warn!(%error, "conversations, folders and presets cannot be read or stored");
    let text =
        "conversations, folders and presets cannot be read or stored at present; the server's log says why";
    Error::new(ErrorKind::Unavailable, Origin::Gateway, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn place_of_a_chat_is_read_back() {
        let chat = ChatSummary {
            id: "a-1".into(),
            title: "T".into(),
            pinned: true,
            folder: String::new(),
            created_at_ms: 1,
            updated_at_ms: 7,
            revision: 3,
        };
        let expected = ChatCursor { pinned: true, updated_at_ms: 7, id: "a-1".into() };
        assert_eq!(cursor(&place(&chat)).unwrap(), expected);
        assert!(cursor("1.x.a").is_err() && cursor("1").is_err());
    }

    #[test]
    fn bounds_are_named() {
        assert!(check_id("a_B-9").is_ok() && check_title(" a ").is_ok());
        for id in ["", "a/b", "ä", &"a".repeat(65)] {
            assert_eq!(check_id(id).unwrap_err().field, Some("id".into()), "{id}");
        }
        for title in ["", "  ", &"a".repeat(201)] {
            assert_eq!(check_title(title).unwrap_err().field, Some("title".into()), "{title}");
        }
        assert!(check_room(ChatUse { chats: 9_999, bytes: (1 << 30) - 5 }, 5).is_ok());
        assert!(check_room(ChatUse { chats: 9_999, bytes: (1 << 30) - 5 }, 6).is_err());
        assert!(check_room(ChatUse { chats: 10_000, bytes: 0 }, 1).is_err());
    }
}
