//! The last lines of the log in the admin API.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use ipc_proto::{Error, Result};

use super::log_wire::{Lines, LogQuery};
use crate::dispatch::Services;
use crate::protocols::error::ApiError;

/// Lines of an answer, unless the client says otherwise.
const DEFAULT_LINES: u32 = 500;
const MAX_LINES: u32 = 5000;

/// `GET /admin/v1/logs`: the last lines of all processes, or those behind a line.
///
/// # Errors
/// A wrong parameter; the supervisor does not answer.
pub async fn lines(
    State(services): State<Services>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Json<Lines>, ApiError> {
    let Query(LogQuery { after, limit }) = query.map_err(|e| Error::invalid("after", e.body_text()))?;
    let limit = limit.unwrap_or(DEFAULT_LINES);
    if !(1..=MAX_LINES).contains(&limit) {
        return Err(Error::invalid("limit", format!("limit must be between 1 and {MAX_LINES}")).into());
    }
    Ok(Json(services.fleet.logs(after, limit).await?.into()))
}
