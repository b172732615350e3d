//! Handlers of `/api/tags`, `/api/ps`, `/api/show`, `/api/version`, and of paths that are not built.

use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use chrono::Utc;
use ipc_proto::{Error, ErrorKind, Origin, Resource};

use super::describe;
use super::folder::FolderTexts;
use super::handler::resolve_tag;
use super::models::{RunningModels, Show, ShowRequest, Tags, Version};
use crate::access::Tenant;
use crate::dispatch::Services;
use crate::fleet::catalogue::within;
use crate::protocols::common::body;
use crate::protocols::error::{ApiError, unroutable};
use crate::protocols::models::write::expand_aliases;

/// The version of Ollama whose OpenAI endpoints match this server's. Codex requires it for Responses: with older versions it
/// falls back to chat completions or gives up.
const OLLAMA_VERSION: &str = "0.13.4";

/// Time for reading a model's folder.
const FOLDER_LIMIT: Duration = Duration::from_secs(3);

/// `GET /api/tags`: lists every model.
///
/// # Errors
/// Returns an error if the supervisor does not answer.
pub async fn tags(
    State(services): State<Services>,
    Extension(tenant): Extension<Tenant>,
) -> Result<Json<Tags>, ApiError> {
    let models = expand_aliases(services.catalogue.models().await?).into_iter();
    let models = models.filter(|entry| tenant.may_use(&entry.id)).map(describe::tag).collect();
    Ok(Json(Tags { models }))
}

/// `GET /api/ps`: lists the loaded models.
///
/// # Errors
/// Returns an error if the supervisor does not answer.
pub async fn ps(
    State(services): State<Services>,
    Extension(tenant): Extension<Tenant>,
) -> Result<Json<RunningModels>, ApiError> {
    let (models, now) = (within(services.fleet.models()).await?, Utc::now());
    Ok(Json(RunningModels {
        models: models
            .into_iter()
            .filter(|entry| tenant.may_use(&entry.id))
            .filter_map(|entry| describe::running(entry, now))
            .collect(),
    }))
}

/// `POST /api/show`: describes a model.
///
/// # Errors
/// Returns an error if there is no such model.
pub async fn show(
    State(services): State<Services>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Json<Show>, ApiError> {
    let request: ShowRequest = body::json(request).await?;
    let name = resolve_tag(&services, request.model).await?;
    tenant.check_model(&name)?;
    let entry = services.catalogue.model(&name).await?;
    if entry.details.unserved {
        let text = format!("the model \"{name}\" does not exist; GET /api/tags lists those that do");
        return Err(Error::not_found(Resource::Model, text).into());
    }
    let folder = entry.details.folder.clone();
    let read = tokio::task::spawn_blocking(move || FolderTexts::read(&folder));
    // A disk that sleeps may take longer. The rest of the answer does not need it.
    let texts = match tokio::time::timeout(FOLDER_LIMIT, read).await {
        Ok(read) => read.map_err(|e| Error::new(ErrorKind::Internal, Origin::Gateway, e.to_string()))?,
        Err(_) => FolderTexts::default(),
    };
    Ok(Json(describe::show(entry, texts)))
}

/// `GET /api/version`.
pub async fn version() -> Json<Version> {
    Json(Version { version: OLLAMA_VERSION })
}

/// Other changes of the store of models.
pub async fn store_change(request: Request) -> Response {
    let path = request.uri().path();
    let text = format!(
        "{path} is not built: mlxd serves folders as they are; add, rename or remove them in the models folder"
    );
    unroutable(StatusCode::NOT_IMPLEMENTED, text)
}
