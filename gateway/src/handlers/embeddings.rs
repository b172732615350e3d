//! `POST /v1/embeddings` and `POST /v1/rerank`.

use axum::Extension;
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::generate::{Event, FinishReason, Usage};
use ipc_proto::{Error, ErrorKind, Source};

use crate::audit::record::Observed;
use crate::backend::local::Reading;
use crate::body;
use crate::error::ApiError;
use crate::middleware::request_id::RequestId;
use crate::state::State;
use crate::translate::embeddings as translate;
use crate::validate::embeddings as validate;
use crate::validate::labels::{self, Labels};

/// `POST /v1/embeddings`.
///
/// # Errors
/// Everything that goes wrong.
pub async fn embed(
    Extract(state): Extract<State>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let valid = validate::embed(body::json(request).await?)?;
    let (model, labels) = (valid.model.clone(), valid.labels.or(sender));
    let reading = Reading {
        model,
        keep_alive: valid.keep_alive,
        time_limit_ms: valid.time_limit_ms,
        ..Reading::default()
    };
    let (mut observed, reading) = observe(&state, &id, "/v1/embeddings", labels, reading);
    let answer = observed.begin(state.local.embed(reading, &valid.request).await)?;
    finished(&mut observed, answer.tokens);
    written(translate::embeddings(&valid.model, &answer, valid.base64))
}

/// `POST /v1/rerank`.
///
/// # Errors
/// Everything that goes wrong.
pub async fn rerank(
    Extract(state): Extract<State>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let valid = validate::rerank(body::json(request).await?)?;
    let (model, labels) = (valid.model.clone(), valid.labels.or(sender));
    let reading = Reading {
        model,
        keep_alive: valid.keep_alive,
        time_limit_ms: valid.time_limit_ms,
        ..Reading::default()
    };
    let (mut observed, reading) = observe(&state, &id, "/v1/rerank", labels, reading);
    let answer = observed.begin(state.local.rerank(reading, &valid.request).await)?;
    finished(&mut observed, answer.tokens);
    let name = format!("rerank-{}", uuid::Uuid::new_v4().simple());
    let documents = valid.shows_documents.then_some(&valid.request.documents[..]);
    written(translate::ranking((&name, &valid.model), &answer, valid.most, documents))
}

/// Watches a call, whose recoveries are its request's.
fn observe(
    state: &State,
    id: &RequestId,
    endpoint: &'static str,
    labels: Labels,
    mut reading: Reading,
) -> (Observed, Reading) {
    let observed = Observed::of(state.audit.clone(), &id.0, endpoint, &reading.model, false).sent_by(labels);
    reading.recoveries = observed.recoveries();
    (observed, reading)
}

fn finished(observed: &mut Observed, tokens: u64) {
    let prompt_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
    let usage = Usage { prompt_tokens, ..Usage::default() };
    observed.see(&Event::Finished { reason: FinishReason::Stop, usage }, true);
}

fn written(json: serde_json::Result<Vec<u8>>) -> Result<Response, ApiError> {
    let json = json.map_err(|e| {
        Error::new(ErrorKind::Internal, Source::Gateway, format!("the answer cannot be written: {e}"))
    })?;
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(([kind], json).into_response())
}
