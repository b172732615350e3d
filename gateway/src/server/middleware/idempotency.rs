//! `Idempotency-Key`: a request that is sent again with the same key and body is not run again.
//!
//! While the first request runs, and for some time after it, a repetition reads the first response from its beginning. A request
//! with a key continues when its client disconnects, because the client may come back. Responses to transient failures are not
//! stored: the next repetition runs again.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use futures::StreamExt;
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tracing::Instrument;

use crate::access::Tenant;
use crate::dispatch::replay_buffer::{ReplayBuffer, replay_buffer};
use crate::dispatch::sse;
use crate::dispatch::writer::ResponseWriter;
use crate::protocols::common::body;
use crate::protocols::error::{ApiError, Failure, unroutable};
use crate::protocols::ollama::write::LineWriter;

const HEADER: &str = "idempotency-key";
const MAX_KEY_BYTES: usize = 255;
/// How long a response is stored.
const LIFETIME: Duration = Duration::from_secs(600);
/// The maximum number of stored responses. The oldest are removed first.
const MAX_RESPONSES: usize = 256;
/// The maximum size of all stored responses together.
const MAX_BYTES: usize = 64 << 20;

/// Media types of streams, which are read as they arrive.
const STREAM_TYPES: [&str; 2] = [sse::MEDIA_TYPE, LineWriter::MEDIA_TYPE];

/// Responses to requests with a key.
#[derive(Debug, Default)]
pub struct Idempotency(Mutex<HashMap<ScopedKey, StoredResponse>>);

/// A key, within the keys of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct ScopedKey {
    tenant: String,
    key: String,
}

#[derive(Debug, Clone)]
struct StoredResponse {
    /// SHA-256 of the request's path and body.
    digest: [u8; 32],
    started: Instant,
    /// `None` until the response begins.
    head: watch::Receiver<Option<ResponseHead>>,
    body: ReplayBuffer,
    /// Ends the request.
    task: AbortHandle,
}

/// All of a response but its body.
#[derive(Debug, Clone)]
struct ResponseHead {
    status: StatusCode,
    headers: HeaderMap,
    failure: Option<Failure>,
    /// The worker's free capacity when it took the request.
    capacity: Option<Capacity>,
}

/// Answers a request with a known key from the stored response.
pub async fn apply(State(stored): State<Arc<Idempotency>>, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request).await;
    }
    let Some(key) = request.headers().get(HEADER) else { return next.run(request).await };
    let key = key.to_str().unwrap_or_default().to_owned();
    match answer(&stored, key, request, next).await {
        Ok(response) => response,
        Err(error) => ApiError(error).into_response(),
    }
}

/// `GET /ui/v1/answers/{id}`: whether the response to the request with this key can be read again.
pub async fn find(
    State(stored): State<Arc<Idempotency>>,
    Extension(tenant): Extension<Tenant>,
    Path(key): Path<String>,
) -> Response {
    let key = ScopedKey { tenant: tenant.name().to_owned(), key };
    match stored.responses().get(&key) {
        Some(response) => Json(json!({"running": !response.body.is_complete()})).into_response(),
        None => unknown(&key.key),
    }
}

fn unknown(key: &str) -> Response {
    unroutable(StatusCode::NOT_FOUND, format!("there is no request with the Idempotency-Key \"{key}\""))
}

/// `DELETE /ui/v1/answers/{id}`: ends the request with this key and forgets its response. Only so can a client end it: the request
/// goes on without one.
pub async fn cancel(
    State(stored): State<Arc<Idempotency>>,
    Extension(tenant): Extension<Tenant>,
    Path(key): Path<String>,
) -> Response {
    let key = ScopedKey { tenant: tenant.name().to_owned(), key };
    let Some(response) = stored.responses().remove(&key) else { return unknown(&key.key) };
    response.task.abort();
    Json(json!({"cancelled": !response.body.is_complete()})).into_response()
}

async fn answer(stored: &Arc<Idempotency>, key: String, request: Request, next: Next) -> Result<Response> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        let text = format!("Idempotency-Key must have 1 to {MAX_KEY_BYTES} visible characters");
        return Err(Error::invalid("Idempotency-Key", text));
    }
    let tenant = request.extensions().get::<Tenant>().map(|tenant| tenant.name().to_owned());
    let key = ScopedKey { tenant: tenant.unwrap_or_default(), key };
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let body = body::read(Request::from_parts(parts.clone(), body)).await?.into_bytes();
    let digest = Sha256::new().chain_update(path).chain_update([0u8]).chain_update(&body).finalize().into();
    let (response, is_first) = {
        let mut responses = stored.responses();
        prune(&mut responses);
        match responses.get(&key) {
            Some(response) if response.digest == digest => (response.clone(), false),
            Some(_) => {
                let text = "Idempotency-Key: this key was sent with another request";
                return Err(Error::invalid("Idempotency-Key", text));
            }
            None => {
                let request = Request::from_parts(parts, body.into());
                let response = start(Arc::clone(stored), key.clone(), digest, request, next);
                responses.insert(key, response.clone());
                (response, true)
            }
        }
    };
    read(response, is_first).await
}

/// Runs a request in a task of its own, which continues when the client disconnects.
fn start(
    stored: Arc<Idempotency>,
    key: ScopedKey,
    digest: [u8; 32],
    request: Request,
    next: Next,
) -> StoredResponse {
    let (head_sender, head) = watch::channel(None);
    let (body_writer, body) = replay_buffer();
    let run = async move {
        let response = next.run(request).await;
        let (parts, body) = response.into_parts();
        if is_transient(parts.status) {
            // The next repetition runs again.
            stored.responses().remove(&key);
        }
        head_sender.send_replace(Some(ResponseHead {
            status: parts.status,
            failure: parts.extensions.get::<Failure>().cloned(),
            capacity: parts.extensions.get().copied(),
            headers: parts.headers,
        }));
        let mut pieces = body.into_data_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            body_writer.push(piece);
        }
    };
    let task = tokio::spawn(run.in_current_span()).abort_handle();
    StoredResponse { digest, started: Instant::now(), head, body, task }
}

/// Whether the same request can succeed later.
fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT
        )
}

/// Only the first reader gets the worker's capacity: it changes soon.
async fn read(mut stored: StoredResponse, is_first: bool) -> Result<Response> {
    let defect = || Error::new(ErrorKind::Internal, Origin::Gateway, "the request ended without an answer");
    let head = stored.head.wait_for(Option::is_some).await.map_err(|_| defect())?.clone();
    let ResponseHead { status, headers, failure, capacity } = head.ok_or_else(defect)?;
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let body = if content_type.is_some_and(|kind| STREAM_TYPES.iter().any(|stream| kind == stream.as_bytes()))
    {
        Body::from_stream(stored.body.read(0).map(Ok::<Bytes, Infallible>))
    } else {
        Body::from(stored.body.read(0).collect::<Vec<_>>().await.concat())
    };
    let mut response = (status, body).into_response();
    *response.headers_mut() = headers;
    if let Some(failure) = failure {
        response.extensions_mut().insert(failure);
    }
    if let Some(capacity) = capacity.filter(|_| is_first) {
        response.extensions_mut().insert(capacity);
    }
    Ok(response)
}

/// Removes expired responses, and the oldest ones above the limits.
fn prune(responses: &mut HashMap<ScopedKey, StoredResponse>) {
    responses.retain(|_, response| !response.body.is_complete() || response.started.elapsed() < LIFETIME);
    let mut bytes: usize = responses.values().map(|response| response.body.size()).sum();
    while responses.len() >= MAX_RESPONSES || bytes > MAX_BYTES {
        let oldest = responses.iter().min_by_key(|(_, response)| response.started);
        let Some(key) = oldest.map(|(key, _)| key.clone()) else { return };
        let removed = responses.remove(&key);
        bytes = bytes.saturating_sub(removed.map_or(0, |response| response.body.size()));
    }
}

impl Idempotency {
    fn responses(&self) -> MutexGuard<'_, HashMap<ScopedKey, StoredResponse>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
