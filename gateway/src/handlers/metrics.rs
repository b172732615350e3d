//! `GET /metrics`, for Prometheus.

use std::sync::atomic::Ordering;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;
use crate::state::AppState;
use crate::translate::metrics::{self, Own};

/// The form and its version.
const FORM: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters and gauges of the whole server; the requests' and tokens' are this gateway's.
///
/// # Errors
/// When the supervisor does not answer.
pub async fn metrics(State(state): State<AppState>) -> Result<Response, ApiError> {
    let counters = &state.local.counters;
    let own = Own {
        sums: state.audit.totals().read(),
        recoveries: counters.recoveries.load(Ordering::Relaxed),
        given_up: counters.given_up.load(Ordering::Relaxed),
        records_lost: state.audit.lost(),
        responses_lost: state.responses.lost(),
    };
    let text = metrics::text(&state.local.pool().await?, &own);
    Ok(([(header::CONTENT_TYPE, FORM)], text).into_response())
}
