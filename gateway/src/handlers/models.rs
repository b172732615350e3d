//! `GET /v1/models`.

use axum::Json;
use axum::extract::{Path, State as Extract};
use ipc_proto::supervisor::ModelEntry;
use ipc_proto::{Error, ErrorKind, Source};

use crate::api::openai::models::{List, Model};
use crate::error::ApiError;
use crate::state::State;

/// Every model.
///
/// # Errors
/// When the supervisor does not answer.
pub async fn list(Extract(state): Extract<State>) -> Result<Json<List>, ApiError> {
    let data = state.local.models().await?.into_iter().map(shown).collect();
    Ok(Json(List { object: "list", data }))
}

/// One model by its id, which may hold slashes.
///
/// # Errors
/// When there is none of that id.
pub async fn one(Extract(state): Extract<State>, Path(id): Path<String>) -> Result<Json<Model>, ApiError> {
    let found = state.local.models().await?.into_iter().find(|model| model.id == id);
    let missing = || {
        let text = format!("the model \"{id}\" does not exist; GET /v1/models lists those that do");
        Error::new(ErrorKind::ModelNotFound, Source::Client, text).with_param("model")
    };
    Ok(Json(shown(found.ok_or_else(missing)?)))
}

fn shown(entry: ModelEntry) -> Model {
    Model { id: entry.id, object: "model", created: entry.created, owned_by: "local" }
}
