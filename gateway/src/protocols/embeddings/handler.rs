//! `POST /v1/embeddings` and `POST /v1/rerank`.

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use ipc_proto::generate::{Event, FinishReason, Usage};

use crate::audit::record::Observed;
use crate::dispatch::{Services, Target};
use crate::inference::labels::Labels;
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::json;
use crate::protocols::common::{body, labels};
use crate::protocols::embeddings::{parse as validate, write as translate};
use crate::protocols::error::ApiError;

/// `POST /v1/embeddings`.
///
/// # Errors
/// Everything that goes wrong.
pub async fn embed(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let valid = validate::embed(body::json(request).await?)?;
    let (model, labels) = (valid.model.clone(), valid.labels.or(sender));
    let target = Target {
        model,
        keep_alive: valid.keep_alive,
        time_limit_ms: valid.time_limit_ms,
        ..Target::default()
    };
    let (mut observed, target) = observe(&services, &id, "/v1/embeddings", labels, target);
    let answer = observed.begin(services.dispatcher.embed(&target, &valid.request).await)?;
    finished(&mut observed, answer.tokens);
    Ok(json(translate::embeddings(&valid.model, &answer, valid.base64), Some(answer.capacity))?)
}

/// `POST /v1/rerank`.
///
/// # Errors
/// Everything that goes wrong.
pub async fn rerank(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let valid = validate::rerank(body::json(request).await?)?;
    let (model, labels) = (valid.model.clone(), valid.labels.or(sender));
    let target = Target {
        model,
        keep_alive: valid.keep_alive,
        time_limit_ms: valid.time_limit_ms,
        ..Target::default()
    };
    let (mut observed, target) = observe(&services, &id, "/v1/rerank", labels, target);
    let answer = observed.begin(services.dispatcher.rerank(&target, &valid.request).await)?;
    finished(&mut observed, answer.tokens);
    let name = format!("rerank-{}", uuid::Uuid::new_v4().simple());
    let documents = valid.shows_documents.then_some(&valid.request.documents[..]);
    let written = translate::ranking((&name, &valid.model), &answer, valid.most, documents);
    Ok(json(written, Some(answer.capacity))?)
}

/// Watches a call, whose recoveries are its request's.
fn observe(
    services: &Services,
    id: &RequestId,
    endpoint: &'static str,
    labels: Labels,
    mut target: Target,
) -> (Observed, Target) {
    let observed =
        Observed::of(services.audit.clone(), &id.0, endpoint, &target.model, false).sent_by(labels);
    target.recoveries = observed.recoveries();
    (observed, target)
}

fn finished(observed: &mut Observed, tokens: u64) {
    let prompt_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
    let usage = Usage { prompt_tokens, ..Usage::default() };
    observed.see(&Event::Finished { reason: FinishReason::Stop, usage }, true);
}
