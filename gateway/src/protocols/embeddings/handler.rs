//! Handlers of `/v1/embeddings`, `/v2/embed` and `/v1/rerank`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use ipc_proto::Error;
use ipc_proto::embed::{EmbedRequest, Embeddings};
use ipc_proto::generate::{Event, FinishReason, Usage};
use ipc_proto::worker::Capacity;

use crate::access::Tenant;
use crate::audit::record::RequestRecorder;
use crate::dispatch::deliver::Served;
use crate::dispatch::{Services, Target};
use crate::inference::labels::Labels;
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::json;
use crate::protocols::common::{body, labels, model_choice};
use crate::protocols::embeddings::cohere::parse::ValidCohereEmbed;
use crate::protocols::embeddings::parse::{self, Call, ValidEmbed, ValidRerank};
use crate::protocols::embeddings::{cohere, write};
use crate::protocols::error::ApiError;

/// `POST /v1/embeddings`.
///
/// # Errors
/// Returns every error of the request.
pub async fn embed(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::from_headers(request.headers());
    let mut request = body::json(request).await?;
    model_choice::fill(&services.catalogue, &mut request).await?;
    let ValidEmbed { call, request, encoding } = parse::parse_embed(request)?;
    let mut model = call.model.clone();
    let from = (&id, &tenant, "/v1/embeddings");
    let (answer, served) = run_embed(&services, from, (call, sender), &request).await?;
    served.rename(&mut model);
    Ok(json(write::embeddings(&model, &answer, encoding), served)?)
}

/// `POST /v2/embed`.
///
/// # Errors
/// Returns every error of the request.
pub async fn embed_by_type(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::from_headers(request.headers());
    let mut request = body::json(request).await?;
    model_choice::fill(&services.catalogue, &mut request).await?;
    let ValidCohereEmbed { call, request, texts, types } = cohere::parse::parse(request)?;
    let (answer, served) =
        run_embed(&services, (&id, &tenant, "/v2/embed"), (call, sender), &request).await?;
    let response_id = uuid::Uuid::new_v4().to_string();
    Ok(json(cohere::write::response(&response_id, &texts, &types, &answer), served)?)
}

/// `POST /v1/rerank`.
///
/// # Errors
/// Returns every error of the request.
pub async fn rerank(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    let sender = labels::from_headers(request.headers());
    let mut request = body::json(request).await?;
    model_choice::fill(&services.catalogue, &mut request).await?;
    let ValidRerank { call, request, top_n, return_documents, is_tei } = parse::parse_rerank(request)?;
    let (mut recorder, mut target) = start_recording(&services, (&id, &tenant, "/v1/rerank"), call, sender);
    let answer = recorder.record_start(services.dispatcher.rerank(&target, &request).await)?;
    record_end(&mut recorder, answer.tokens);
    let served = served(&recorder, answer.capacity);
    served.rename(&mut target.model);
    let documents = return_documents.then_some(&request.documents[..]);
    if is_tei {
        return Ok(json(write::tei_ranking(&answer, top_n, documents), served)?);
    }
    let response_id = format!("rerank-{}", uuid::Uuid::new_v4().simple());
    let body = write::ranking((&response_id, &target.model), &answer, top_n, documents);
    Ok(json(body, served)?)
}

/// Embeds texts for a request to an endpoint, and records the call.
///
/// # Errors
/// Returns every error of the request.
pub async fn run_embed(
    services: &Services,
    from: (&RequestId, &Tenant, &'static str),
    (call, sender): (Call, Labels),
    request: &EmbedRequest,
) -> Result<(Embeddings, Served), Error> {
    let (mut recorder, target) = start_recording(services, from, call, sender);
    let answer = recorder.record_start(services.dispatcher.embed(&target, request).await)?;
    record_end(&mut recorder, answer.tokens);
    let served = served(&recorder, answer.capacity);
    Ok((answer, served))
}

/// Starts the audit record of a call. The dispatcher counts the recoveries of the returned target in it.
fn start_recording(
    services: &Services,
    (id, tenant, endpoint): (&RequestId, &Tenant, &'static str),
    call: Call,
    sender: Labels,
) -> (RequestRecorder, Target) {
    let Call { model, keep_alive, time_limit_ms, labels } = call;
    let recorder = RequestRecorder::for_model(services.audit.clone(), id, endpoint, &model, false)
        .with_labels(labels.or(sender), id)
        .sent_by(tenant);
    let course = Arc::clone(recorder.course());
    let target = Target { model, sender: tenant.clone(), keep_alive, time_limit_ms, course };
    (recorder, target)
}

/// The server of a call that has ended.
fn served(recorder: &RequestRecorder, capacity: Capacity) -> Served {
    Served { capacity: Some(capacity), answerer: recorder.course().answerer(), headers: None }
}

/// Records the end of a call that has read this number of tokens.
fn record_end(recorder: &mut RequestRecorder, tokens: u64) {
    let prompt_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
    let usage = Usage { prompt_tokens, ..Usage::default() };
    recorder.record_event(0, &Event::Finished { reason: FinishReason::Stop, usage }, true);
}
