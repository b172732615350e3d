//! The admin API: what runs, in how much memory, and orders to change that. Errors are RFC 7807's.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use ipc_proto::supervisor::{ModelEntry, ModelSettings, Restart};
use ipc_proto::{Error, ErrorKind, Origin, Resource, Result};

use crate::api::admin::{Load, Model, Models, Nothing, Pin, Pool, Unload};
use crate::body;
use crate::error::ApiError;
use crate::state::AppState;
use crate::translate::admin;
use crate::validate::keep_alive;

pub mod events;

/// Behind a model's id.
const SETTINGS: &str = "/settings";

/// `GET /admin/v1/pool`.
///
/// # Errors
/// When the supervisor does not answer.
pub async fn pool(State(state): State<AppState>) -> std::result::Result<Json<Pool>, ApiError> {
    let counters = &state.local.counters;
    let (recoveries, given_up) =
        (counters.recoveries.load(Ordering::Relaxed), counters.given_up.load(Ordering::Relaxed));
    Ok(Json(admin::pool(state.local.pool().await?, recoveries, given_up)))
}

/// `GET /admin/v1/models`.
///
/// # Errors
/// When the supervisor does not answer.
pub async fn models(State(state): State<AppState>) -> std::result::Result<Json<Models>, ApiError> {
    Ok(Json(all(&state).await?))
}

/// `GET /admin/v1/models/{id}` and `…/{id}/settings`; ids may hold slashes.
///
/// # Errors
/// When there is none of that name.
pub async fn model(
    State(state): State<AppState>,
    Path(path): Path<String>,
) -> std::result::Result<Response, ApiError> {
    let settings_of = path.strip_suffix(SETTINGS);
    match (named(&state, &path).await, settings_of) {
        (Ok(entry), _) => Ok(Json(admin::model(entry)).into_response()),
        (Err(_), Some(name)) => Ok(Json(state.local.settings(name.to_owned()).await?).into_response()),
        (Err(error), None) => Err(error.into()),
    }
}

/// `PUT /admin/v1/models/{id}/settings`: replaces them, and answers with what is in force.
///
/// # Errors
/// When there is no such model, or a setting is wrong.
pub async fn set(
    State(state): State<AppState>,
    Path(path): Path<String>,
    request: Request,
) -> std::result::Result<Json<ModelSettings>, ApiError> {
    let unknown =
        || Error::new(ErrorKind::InvalidRequest, Origin::Client, "PUT /admin/v1/models/{id}/settings");
    let name = path.strip_suffix(SETTINGS).ok_or_else(unknown)?;
    let settings: ModelSettings = body::json(request).await?;
    // By its id: the new settings may take the alias away.
    let id = named(&state, name).await?.id;
    state.local.set_settings(id.clone(), settings).await?;
    Ok(Json(state.local.settings(id).await?))
}

/// `POST /admin/v1/models/{id}/load`, `unload`, `restart` or `pin`: answers with the model once it is done.
///
/// # Errors
/// When there is no such model or order, or it cannot be followed.
pub async fn order(
    State(state): State<AppState>,
    Path(path): Path<String>,
    request: Request,
) -> std::result::Result<Json<Model>, ApiError> {
    let unknown = || {
        let text = "POST /admin/v1/models/{id}/load, unload, restart or pin";
        Error::new(ErrorKind::InvalidRequest, Origin::Client, text)
    };
    let (name, order) = path.rsplit_once('/').ok_or_else(unknown)?;
    // By its id: an alias may lead elsewhere in a moment.
    let id = named(&state, name).await?.id;
    match order {
        "load" => {
            let Load { keep_alive } = body::json_or_default(request).await?;
            state.local.load(&id, keep_alive::checked(keep_alive)?).await?;
        }
        "unload" => {
            let Unload { force } = body::json_or_default(request).await?;
            state.local.unload(id.clone(), force).await?;
        }
        "restart" => {
            let Nothing {} = body::json_or_default(request).await?;
            state.local.restart(Restart::Model(id.clone())).await?;
        }
        "pin" => {
            let Pin { pinned } = body::json_or_default(request).await?;
            state.local.pin(id.clone(), pinned).await?;
        }
        _ => return Err(unknown().into()),
    }
    Ok(Json(admin::model(named(&state, &id).await?)))
}

async fn all(state: &AppState) -> Result<Models> {
    Ok(Models { models: state.local.models().await?.into_iter().map(admin::model).collect() })
}

async fn named(state: &AppState, name: &str) -> Result<ModelEntry> {
    let is = |model: &ModelEntry| model.id == name || model.aliases.iter().any(|alias| alias == name);
    let found = state.local.models().await?.into_iter().find(is);
    found.ok_or_else(|| {
        let text = format!("the model \"{name}\" does not exist; GET /admin/v1/models lists those that do");
        Error::not_found(Resource::Model, text)
    })
}
