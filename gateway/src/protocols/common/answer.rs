//! Parts of responses that several protocols share.

use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::{Error, ErrorKind, Origin, Result};

use crate::dispatch::deliver::Served;

/// Returns the seconds since the Unix epoch.
pub fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Builds a JSON response of the server `served`.
///
/// # Errors
/// Returns an error if the serialization of the body failed.
pub fn json(body: serde_json::Result<Vec<u8>>, served: Served) -> Result<Response> {
    let body = body.map_err(|e| {
        Error::new(ErrorKind::Internal, Origin::Gateway, format!("the answer cannot be written: {e}"))
    })?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(served.attach(([kind], body).into_response()))
}
