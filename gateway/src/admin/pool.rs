//! The memory pool in the admin API.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;

use super::view;
use super::wire::Pool;
use crate::dispatch::Services;
use crate::fleet::catalogue::within;
use crate::protocols::error::ApiError;

/// `GET /admin/v1/pool`.
///
/// # Errors
/// The supervisor does not answer.
pub async fn pool(State(services): State<Services>) -> Result<Json<Pool>, ApiError> {
    let counters = &services.dispatcher.counters;
    let recoveries = counters.recoveries.load(Ordering::Relaxed);
    let given_up = counters.given_up.load(Ordering::Relaxed);
    Ok(Json(view::pool(within(services.fleet.pool()).await?, recoveries, given_up)))
}
