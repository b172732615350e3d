//! `Idempotency-Key`: a request that is sent again, because its answer did not arrive, is not done again. Who sends the same
//! key and body while the first runs, or soon after, reads the first's answer from its beginning.
//!
//! Such a request goes on when its client leaves: it may come back. Failures that another try could mend are forgotten.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::access::Tenant;
use crate::dispatch::replay_buffer::{ReplayBuffer, replay_buffer};
use crate::protocols::common::body;
use crate::protocols::error::{ApiError, Failure};

const HEADER: &str = "idempotency-key";
const MAX_KEY_BYTES: usize = 255;
/// How long an answer is there for who comes again.
const KEPT: Duration = Duration::from_secs(600);
/// Answers that are kept, at most; the oldest go first.
const MAX_ANSWERS: usize = 256;
/// Bytes of them, at most, together.
const MAX_BYTES: usize = 64 << 20;

/// Answers of requests that had a key.
#[derive(Debug, Default)]
pub struct Idempotency(Mutex<HashMap<Name, Entry>>);

/// Who asked, and with which key.
type Name = (String, String);
/// Of an answer, once it has begun.
type Head = (StatusCode, HeaderMap, Option<Failure>, Option<Capacity>);

#[derive(Debug, Clone)]
struct Entry {
    /// Of path and body.
    digest: [u8; 32],
    began: Instant,
    head: watch::Receiver<Option<Head>>,
    replay: ReplayBuffer,
}

/// Answers from an earlier request of the same key, where there is one.
pub async fn apply(State(answers): State<Arc<Idempotency>>, request: Request, next: Next) -> Response {
    let key = request.headers().get(HEADER).filter(|_| request.method() == Method::POST);
    match key.map(|key| key.to_str().unwrap_or_default().to_owned()) {
        None => next.run(request).await,
        Some(key) => match answer(&answers, key, request, next).await {
            Ok(response) => response,
            Err(error) => ApiError(error).into_response(),
        },
    }
}

async fn answer(answers: &Arc<Idempotency>, key: String, request: Request, next: Next) -> Result<Response> {
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        let text = format!("Idempotency-Key must have 1 to {MAX_KEY_BYTES} visible characters");
        return Err(Error::invalid("Idempotency-Key", text));
    }
    let owner = request.extensions().get::<Tenant>().map(|tenant| tenant.name().to_owned());
    let name = (owner.unwrap_or_default(), key);
    let path = request.uri().path().to_owned();
    let (parts, body) = request.into_parts();
    let body = body::bytes(Request::from_parts(parts.clone(), body)).await?;
    let digest = Sha256::new().chain_update(path).chain_update([0u8]).chain_update(&body).finalize().into();
    let (entry, first) = {
        let mut all = answers.all();
        tidy(&mut all);
        match all.get(&name) {
            Some(entry) if entry.digest == digest => (entry.clone(), false),
            Some(_) => {
                let text = "Idempotency-Key: this key was sent with another request";
                return Err(Error::invalid("Idempotency-Key", text));
            }
            None => {
                let entry =
                    begin(answers, name.clone(), digest, Request::from_parts(parts, body.into()), next);
                all.insert(name, entry.clone());
                (entry, true)
            }
        }
    };
    read(entry, first).await
}

/// Has a request answered by a task of its own.
fn begin(answers: &Arc<Idempotency>, name: Name, digest: [u8; 32], request: Request, next: Next) -> Entry {
    let (told, head) = watch::channel(None);
    let (writer, replay) = replay_buffer();
    let idempotency = Arc::clone(answers);
    tokio::spawn(async move {
        let response = next.run(request).await;
        let (parts, body) = response.into_parts();
        let passing = parts.status.is_server_error()
            || matches!(
                parts.status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT | StatusCode::CONFLICT
            );
        if passing {
            // Who asks again is not to find it.
            idempotency.all().remove(&name);
        }
        let (failure, capacity) =
            (parts.extensions.get::<Failure>().cloned(), parts.extensions.get().copied());
        told.send_replace(Some((parts.status, parts.headers, failure, capacity)));
        let mut pieces = body.into_data_stream();
        while let Some(Ok(piece)) = pieces.next().await {
            writer.push(piece);
        }
    });
    Entry { digest, began: Instant::now(), head, replay }
}

/// Only the `first` reader gets the worker's capacity, which changes soon.
async fn read(mut entry: Entry, first: bool) -> Result<Response> {
    let defect = || Error::new(ErrorKind::Internal, Origin::Gateway, "the request ended without an answer");
    let head = entry.head.wait_for(Option::is_some).await.map_err(|_| defect())?.clone();
    let (status, headers, failure, capacity) = head.ok_or_else(defect)?;
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    let body = if kind == Some(b"text/event-stream") {
        Body::from_stream(entry.replay.read(0).map(Ok::<Bytes, Infallible>))
    } else {
        Body::from(entry.replay.read(0).collect::<Vec<_>>().await.concat())
    };
    let mut response = (status, body).into_response();
    *response.headers_mut() = headers;
    if let Some(failure) = failure {
        response.extensions_mut().insert(failure);
    }
    if let Some(capacity) = capacity.filter(|_| first) {
        response.extensions_mut().insert(capacity);
    }
    Ok(response)
}

/// Lets go of what is too old, or too much.
fn tidy(all: &mut HashMap<Name, Entry>) {
    all.retain(|_, entry| !entry.replay.is_whole() || entry.began.elapsed() < KEPT);
    let mut bytes: usize = all.values().map(|entry| entry.replay.size()).sum();
    while all.len() >= MAX_ANSWERS || bytes > MAX_BYTES {
        let Some(oldest) = all.iter().min_by_key(|(_, entry)| entry.began).map(|(name, _)| name.clone())
        else {
            return;
        };
        let gone = all.remove(&oldest);
        bytes = bytes.saturating_sub(gone.map_or(0, |entry| entry.replay.size()));
    }
}

impl Idempotency {
    fn all(&self) -> MutexGuard<'_, HashMap<Name, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
