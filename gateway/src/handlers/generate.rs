//! Chat and completions: one path for both.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, ErrorKind, Origin, Result};

use super::stream::{self, Job};
use crate::audit::record::Observed;
use crate::body;
use crate::error::ApiError;
use crate::middleware::auth::Tenant;
use crate::middleware::request_id::RequestId;
use crate::state::AppState;
use crate::translate::openai::{Chunks, Endpoint, Head, Timer};
use crate::validate;
use crate::validate::choices::ValidChoices;
use crate::validate::labels;

/// `POST /v1/chat/completions`.
///
/// # Errors
/// Everything that goes wrong before the first token.
pub async fn chat(
    State(state): State<AppState>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> std::result::Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let valid = validate::chat(body::json(request).await?)?.sent_by(sender);
    Ok(generate(state, (&id, tenant), Endpoint::Chat, valid).await?)
}

/// `POST /v1/completions`.
///
/// # Errors
/// Everything that goes wrong before the first token.
pub async fn completions(
    State(state): State<AppState>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> std::result::Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let valid = validate::completion(body::json(request).await?)?.sent_by(sender);
    Ok(generate(state, (&id, tenant), Endpoint::Completions, valid).await?)
}

async fn generate(
    state: AppState,
    (id, tenant): (&RequestId, Tenant),
    endpoint: Endpoint,
    valid: ValidChoices,
) -> Result<Response> {
    let mut timer = Timer::new(Instant::now());
    let ValidChoices { request: valid, form } = valid;
    let choices = (1 + valid.more_prompts.len()) * valid.choices as usize;
    let prefix = match endpoint {
        Endpoint::Chat => "chatcmpl",
        Endpoint::Completions => "cmpl",
    };
    let answer_id = format!("{prefix}-{}", uuid::Uuid::new_v4().simple());
    let head = Head { endpoint, id: answer_id, created: now(), model: valid.model.clone(), form };
    let observed = Observed::new(state.audit.clone(), &id.0, endpoint.path(), &valid);
    let streaming = valid.stream;
    let job = Job { state, id: id.clone(), valid, observed, tenant };
    match streaming {
        Some(streaming) => {
            let chunks = Chunks::new(head, choices, streaming.include_usage, timer);
            stream::stream(job, chunks, None).await
        }
        None => {
            let (all, capacity) = stream::whole(job, |_| timer.note()).await?;
            json(head.answer(all, timer), capacity)
        }
    }
}

/// Seconds since the epoch.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A response with a written body, from a worker with this free capacity.
pub(super) fn json(written: serde_json::Result<Vec<u8>>, capacity: Option<Capacity>) -> Result<Response> {
    let body = written.map_err(|e| {
        Error::new(ErrorKind::Internal, Origin::Gateway, format!("the answer cannot be written: {e}"))
    })?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok((capacity.map(Extension), [kind], body).into_response())
}
