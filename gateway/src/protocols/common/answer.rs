//! Parts of answers that several protocols share.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, ErrorKind, Origin, Result};

/// Seconds since the epoch.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A response with a written body, from a worker with this free capacity.
///
/// # Errors
/// When the body could not be written.
pub fn json(written: serde_json::Result<Vec<u8>>, capacity: Option<Capacity>) -> Result<Response> {
    let body = written.map_err(|e| {
        Error::new(ErrorKind::Internal, Origin::Gateway, format!("the answer cannot be written: {e}"))
    })?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((capacity.map(Extension), [kind], body).into_response())
}
