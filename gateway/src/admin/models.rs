//! Models in the admin API. Their ids are one percent-encoded path segment.

use axum::Json;
use axum::extract::{Path, Request, State};
use ipc_proto::Result;
use ipc_proto::hub::RemovedModel;
use ipc_proto::supervisor::{ModelSettings, Restart, Want};

use super::view;
use super::wire::{self, EffectiveSettings, Load, Model, Models, Pin, Unload};
use crate::dispatch::Services;
use crate::fleet::catalogue::within;
use crate::protocols::common::{body, keep_alive};
use crate::protocols::error::ApiError;

type JsonResult<T> = Result<Json<T>, ApiError>;

/// `GET /admin/v1/models`.
///
/// # Errors
/// The supervisor does not answer.
pub async fn list(State(services): State<Services>) -> JsonResult<Models> {
    let models = within(services.fleet.models()).await?;
    Ok(Json(Models { models: models.into_iter().map(view::model).collect() }))
}

/// `GET /admin/v1/models/{id}`.
///
/// # Errors
/// Unknown model.
pub async fn get(State(services): State<Services>, Path(name): Path<String>) -> JsonResult<Model> {
    Ok(model_response(&services, &name).await?)
}

/// `GET /admin/v1/models/{id}/removal`: what the removal from disk takes away.
///
/// # Errors
/// Unknown model, or one that mlxd does not manage.
pub async fn removal(State(services): State<Services>, Path(name): Path<String>) -> JsonResult<RemovedModel> {
    Ok(Json(services.fleet.removal(name).await?))
}

/// `DELETE /admin/v1/models/{id}`: unloads the model and removes it from disk. Its settings stay.
///
/// # Errors
/// As [`removal`]; a download of it runs; files cannot be removed.
pub async fn remove(State(services): State<Services>, Path(name): Path<String>) -> JsonResult<RemovedModel> {
    Ok(Json(services.fleet.remove_model(name).await?))
}

/// `GET /admin/v1/models/{id}/settings`.
///
/// # Errors
/// Unknown model.
pub async fn settings(
    State(services): State<Services>,
    Path(name): Path<String>,
) -> JsonResult<ModelSettings> {
    Ok(Json(services.fleet.settings(name).await?))
}

/// `PUT /admin/v1/models/{id}/settings`: replaces the settings. Answers with the effective ones, and names those that wait for a
/// restart.
///
/// # Errors
/// Unknown model, an invalid setting.
pub async fn replace_settings(
    State(services): State<Services>,
    Path(name): Path<String>,
    request: Request,
) -> JsonResult<EffectiveSettings> {
    let settings: ModelSettings = body::json(request).await?;
    // Uses the id: the new settings may remove the alias.
    let entry = services.fleet.model(&name).await?;
    let before = services.fleet.settings(entry.id.clone()).await?;
    services.fleet.set_settings(entry.id.clone(), settings).await?;
    let settings = services.fleet.settings(entry.id).await?;
    let waiting = settings.waiting_for_restart(&before);
    let restart_needed = if entry.workers.is_empty() { Vec::new() } else { waiting };
    Ok(Json(EffectiveSettings { settings, restart_needed }))
}

/// `POST /admin/v1/models/{id}/load`: answers when a worker serves the model.
///
/// # Errors
/// Unknown or broken model, no memory for it.
pub async fn load(
    State(services): State<Services>,
    Path(name): Path<String>,
    request: Request,
) -> JsonResult<Model> {
    let Load { keep_alive } = body::json_or_default(request).await?;
    let keep_alive = keep_alive::parse(keep_alive)?;
    let id = services.fleet.model(&name).await?.id;
    services.fleet.ensure_ready(Want { keep_alive, ..Want::model(&id) }).await?;
    Ok(model_response(&services, &id).await?)
}

/// `POST /admin/v1/models/{id}/unload`: answers when the memory is free.
///
/// # Errors
/// Unknown model.
pub async fn unload(
    State(services): State<Services>,
    Path(name): Path<String>,
    request: Request,
) -> JsonResult<Model> {
    let Unload { force } = body::json_or_default(request).await?;
    let id = services.fleet.model(&name).await?.id;
    services.fleet.unload(id.clone(), force).await?;
    Ok(model_response(&services, &id).await?)
}

/// `POST /admin/v1/models/{id}/restart`: answers when new workers serve the model.
///
/// # Errors
/// Unknown or broken model.
pub async fn restart(
    State(services): State<Services>,
    Path(name): Path<String>,
    request: Request,
) -> JsonResult<Model> {
    let wire::Restart {} = body::json_or_default(request).await?;
    let id = services.fleet.model(&name).await?.id;
    services.fleet.restart(Restart::Model(id.clone())).await?;
    Ok(model_response(&services, &id).await?)
}

/// `POST /admin/v1/models/{id}/pin`.
///
/// # Errors
/// Unknown model.
pub async fn pin(
    State(services): State<Services>,
    Path(name): Path<String>,
    request: Request,
) -> JsonResult<Model> {
    let Pin { pinned } = body::json_or_default(request).await?;
    let id = services.fleet.model(&name).await?.id;
    services.fleet.pin(id.clone(), pinned).await?;
    Ok(model_response(&services, &id).await?)
}

async fn model_response(services: &Services, name: &str) -> Result<Json<Model>> {
    Ok(Json(view::model(within(services.fleet.model(name)).await?)))
}
