//! Downloads and searches on the hub in the admin API. The hub process does the work.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ipc_proto::hub::{Download, DownloadChange, DownloadOrder, HubQuery};
use ipc_proto::{Error, Result};

use super::download_wire::{
    ChangedDownload, DownloadList, FoundModels, NewDownload, RemovalQuery, SearchQuery,
};
use crate::dispatch::Services;
use crate::protocols::common::body;
use crate::protocols::error::ApiError;

/// Results of a search, unless the client says otherwise.
const DEFAULT_RESULTS: u32 = 20;
const MAX_RESULTS: u32 = 500;

/// `GET /admin/v1/downloads`.
///
/// # Errors
/// The hub process does not answer.
pub async fn list(State(services): State<Services>) -> Result<Json<DownloadList>, ApiError> {
    Ok(Json(DownloadList { downloads: services.fleet.downloads().await? }))
}

/// `POST /admin/v1/downloads`: queues a download, or answers with the one that the model has.
///
/// # Errors
/// A wrong field; the list of downloads cannot be written.
pub async fn create(State(services): State<Services>, request: Request) -> Result<Response, ApiError> {
    let NewDownload { model, revision, priority, force } = body::json(request).await?;
    let order = DownloadOrder { model, revision, priority, force, automatic: false };
    let download = services.fleet.add_download(order).await?;
    Ok((StatusCode::ACCEPTED, Json(download)).into_response())
}

/// `PATCH /admin/v1/downloads/{id}`: pauses or resumes a download, or changes its class.
///
/// # Errors
/// There is no such download; a wrong field; the list of downloads cannot be written.
pub async fn change(
    State(services): State<Services>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Download>, ApiError> {
    let ChangedDownload { paused, priority } = body::json(request).await?;
    Ok(Json(services.fleet.change_download(id, DownloadChange { paused, priority }).await?))
}

/// `DELETE /admin/v1/downloads/{id}`: cancels a download and gives its room back, unless `keep` is true. A model that is complete stays.
///
/// # Errors
/// There is no such download; files cannot be removed.
pub async fn remove(
    State(services): State<Services>,
    Path(id): Path<String>,
    query: Result<Query<RemovalQuery>, QueryRejection>,
) -> Result<Json<Download>, ApiError> {
    let Query(query) = query.map_err(|e| Error::invalid("keep", e.body_text()))?;
    Ok(Json(services.fleet.remove_download(id, query.keep).await?))
}

/// `GET /admin/v1/hub/search`.
///
/// # Errors
/// A wrong parameter; the hub cannot be reached, or refuses.
pub async fn search(
    State(services): State<Services>,
    query: Result<Query<SearchQuery>, QueryRejection>,
) -> Result<Json<FoundModels>, ApiError> {
    let Query(query) = query.map_err(|e| Error::invalid("query", e.body_text()))?;
    let limit = query.limit.unwrap_or(DEFAULT_RESULTS);
    if !(1..=MAX_RESULTS).contains(&limit) {
        let text = format!("limit must lie between 1 and {MAX_RESULTS}");
        return Err(Error::invalid("limit", text).into());
    }
    let SearchQuery { query: text, author, task, sort, .. } = query;
    Ok(Json(services.fleet.search_hub(HubQuery { text, author, task, sort, limit }).await?))
}
