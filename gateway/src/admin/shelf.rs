//! The folders of the web UI's conversations, and its presets. Their owners are those of the conversations. Each change answers with
//! the whole list.

use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipc_proto::{Error, Result};

use super::chat_wire::{FolderInput, Folders, Preset, PresetInput, Presets};
use super::chats::{check_id, owner, refused};
use crate::access::Tenant;
use crate::protocols::common::body;
use crate::protocols::error::{ApiError, unroutable};
use crate::store::folders::Kept;
use crate::store::{Db, DbError, presets};

const MAX_NAME_CHARS: usize = 100;
/// The largest preset with its envelope, in bytes.
const MAX_PRESET_BYTES: usize = 256 << 10;
/// Folders, and presets, of one owner.
const MOST: u32 = 500;

/// `GET /ui/v1/folders`.
///
/// # Errors
/// The database refuses.
pub async fn folders(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
) -> Result<Json<Folders>, ApiError> {
    let folders = db.folders(owner(&tenant)).await.map_err(|error| refused(&error))?;
    Ok(Json(Folders { folders }))
}

/// `PUT /ui/v1/folders/{id}`: makes a folder, or renames it.
///
/// # Errors
/// A wrong field; the database refuses.
pub async fn put_folder(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let input: FolderInput = body::json(request).await?;
    check_id(&id)?;
    let name = check_name(&input.name)?;
    let kept = db.store_folder(owner(&tenant), &id, name, MOST).await;
    match refusal(kept, "folder", name)? {
        Some(refusal) => Ok(refusal),
        None => Ok(folders(State(db), Extension(tenant)).await?.into_response()),
    }
}

/// `DELETE /ui/v1/folders/{id}`. Its conversations stay, in no folder.
///
/// # Errors
/// The database refuses.
pub async fn delete_folder(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    if db.delete_folder(owner(&tenant), &id).await.map_err(|error| refused(&error))? {
        return Ok(folders(State(db), Extension(tenant)).await?.into_response());
    }
    Ok(unroutable(StatusCode::NOT_FOUND, format!("there is no folder \"{id}\"")))
}

/// `GET /ui/v1/presets`.
///
/// # Errors
/// The database refuses.
pub async fn presets(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
) -> Result<Json<Presets>, ApiError> {
    let presets = db.presets(owner(&tenant)).await.map_err(|error| refused(&error))?;
    // The page wrote an object.
    let view = |presets::Preset { id, name, body }| {
        let body = serde_json::from_str(&body).unwrap_or_default();
        Preset { id, name, body }
    };
    Ok(Json(Presets { presets: presets.into_iter().map(view).collect() }))
}

/// `PUT /ui/v1/presets/{id}`.
///
/// # Errors
/// A wrong field; the database refuses.
pub async fn put_preset(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let input: PresetInput = body::json_within(request, MAX_PRESET_BYTES).await?;
    check_id(&id)?;
    let name = check_name(&input.name)?;
    if !input.body.is_object() {
        return Err(Error::invalid("body", "body must be an object").into());
    }
    let preset = presets::Preset { id, name: name.to_owned(), body: input.body.to_string() };
    let kept = db.store_preset(owner(&tenant), &preset, MOST).await;
    match refusal(kept, "preset", name)? {
        Some(refusal) => Ok(refusal),
        None => Ok(presets(State(db), Extension(tenant)).await?.into_response()),
    }
}

/// `DELETE /ui/v1/presets/{id}`.
///
/// # Errors
/// The database refuses.
pub async fn delete_preset(
    State(db): State<Db>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    if db.delete_preset(owner(&tenant), &id).await.map_err(|error| refused(&error))? {
        return Ok(presets(State(db), Extension(tenant)).await?.into_response());
    }
    Ok(unroutable(StatusCode::NOT_FOUND, format!("there is no preset \"{id}\"")))
}

/// The response to a change that does not fit the owner's others.
fn refusal(kept: Result<Kept, DbError>, what: &str, name: &str) -> Result<Option<Response>> {
    let text = match kept.map_err(|error| refused(&error))? {
        Kept::Yes => return Ok(None),
        Kept::NameTaken => format!("there is a {what} \"{name}\" already"),
        Kept::Full => format!("there are {MOST} {what}s, the most that are allowed: delete some"),
    };
    Ok(Some(unroutable(StatusCode::CONFLICT, text)))
}

fn check_name(name: &str) -> Result<&str> {
    let name = name.trim();
    if (1..=MAX_NAME_CHARS).contains(&name.chars().count()) {
        return Ok(name);
    }
    Err(Error::invalid("name", format!("name must have 1 to {MAX_NAME_CHARS} characters")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_has_a_bound_and_no_space_around_it() {
        assert_eq!(check_name(" a b ").unwrap(), "a b");
        for name in ["", " ", &"a".repeat(101)] {
            assert_eq!(check_name(name).unwrap_err().field, Some("name".into()), "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_a_conflict() {
        for (kept, status) in [
            (Kept::Yes, None),
            (Kept::NameTaken, Some(StatusCode::CONFLICT)),
            (Kept::Full, Some(StatusCode::CONFLICT)),
        ] {
            let response = refusal(Ok(kept), "folder", "a").unwrap();
            assert_eq!(response.map(|response| response.status()), status, "{kept:?}");
        }
    }
}
