//! Handlers of Anthropic's Messages API.

use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Json};
use ipc_proto::generate::Prompt;

use crate::access::Tenant;
use crate::dispatch::deliver::{Job, Whole};
use crate::dispatch::{Services, Target, deliver};
use crate::inference::original::WireProtocol;
use crate::inference::request::InferenceRequest;
use crate::inference::request_id::RequestId;
use crate::protocols::anthropic::messages::compaction::{self, MAX_SUMMARY_TOKENS};
use crate::protocols::anthropic::messages::parse::{self, ValidMessages};
use crate::protocols::anthropic::messages::wire::Count;
use crate::protocols::anthropic::messages::write::{Compacted, MessageHead, MessageWriter};
use crate::protocols::common::answer::json;
use crate::protocols::common::{body, labels, model_choice, original};
use crate::protocols::error::ApiError;

/// `POST /v1/messages`.
///
/// # Errors
/// Returns every error before the message begins.
pub async fn create(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    // In a box of its own: a request that waits for its first token keeps this future.
    let (mut head, job, streamed) = Box::pin(prepare(services, (id, tenant), request)).await?;
    if streamed {
        return Ok(deliver::stream(job, MessageWriter::new(head), None).await?);
    }
    let (mut all, served) = match deliver::whole(job, |_| {}).await? {
        Whole::Verbatim(response) => return Ok(response),
        Whole::Outputs(all, served) => (all, served),
    };
    served.rename(&mut head.model);
    Ok(json(head.answer(all.remove(0)), served)?)
}

/// Reads a request and compacts its conversation if it asks for that. Returns the head of the answer, the job, and whether the
/// answer is streamed.
///
/// # Errors
/// The request is wrong, or the summary fails.
async fn prepare(
    services: Services,
    (id, tenant): (RequestId, Tenant),
    request: Request,
) -> Result<(MessageHead, Job, bool), ApiError> {
    let sender = labels::from_headers(request.headers());
    let names = services.names.now();
    let headers = original::headers(&names, request.headers());
    let body = body::read(request).await?;
    let mut typed = body::parse_raw(&body);
    if let Ok(request) = &mut typed {
        model_choice::fill(&services.catalogue, request).await?;
    }
    let parsed = typed.and_then(parse::parse).and_then(|valid| {
        body::check_text(body.size(), valid.request.prompts())?;
        Ok(valid)
    });
    let known = parsed.as_ref().ok().map(|valid| (&*valid.request.model, valid.request.stream.is_some()));
    let original = original::keep(&names, (WireProtocol::Messages, headers), body.into_bytes(), known);
    let mut valid = original::join(parsed, original, parse::parse, |valid| &mut valid.request)?;
    valid.request = valid.request.with_labels(sender);
    let compacted = compact(&services, (&id, &tenant), &mut valid).await?;
    let ValidMessages { request, max_tokens, hide_thinking, diagnose, summarises, tool_changes, .. } = valid;
    let head = MessageHead {
        id: format!("msg_{}", uuid::Uuid::new_v4().simple()),
        request_id: id.name.clone(),
        model: request.model.clone(),
        stops: request.generation.stop.clone(),
        max_tokens,
        hide_thinking,
        diagnose,
        silent: max_tokens == 0,
        summarises,
        tool_changes,
        compacted,
    };
    let streamed = request.stream.is_some();
    Ok((head, Job::new(services, (id, tenant), "/v1/messages", request), streamed))
}

/// Compacts the conversation if the request asks for it and its prompt is long enough. Returns the compaction, unless the answer
/// itself becomes the compaction.
///
/// # Errors
/// Returns an error if the summary fails.
async fn compact(
    services: &Services,
    (id, tenant): (&RequestId, &Tenant),
    valid: &mut ValidMessages,
) -> Result<Option<Compacted>, ApiError> {
    let Some(asked) = valid.compaction.take() else { return Ok(None) };
    // A provider of this protocol gets the parameter, and compacts by itself.
    let names = services.names.now();
    let is_elsewhere = |model: &str| names.find(names.first_target(model)).is_some();
    if valid.request.original.is_some() && is_elsewhere(&valid.request.model) {
        return Ok(None);
    }
    let (target, prompts) = Target::from_prompts(tenant.clone(), valid.request.clone().into());
    if services.dispatcher.count_tokens(&target, &prompts).await? < asked.trigger {
        return Ok(None);
    }
    if asked.pause {
        valid.summarises = true;
        compaction::make_request(&asked, &mut valid.request);
        return Ok(None);
    }
    let mut request = InferenceRequest { stream: None, original: None, ..valid.request.clone() };
    compaction::make_request(&asked, &mut request);
    request.generation.max_tokens = Some(MAX_SUMMARY_TOKENS);
    let job = Job::new(services.clone(), (id.clone(), tenant.clone()), "/v1/messages", request);
    let (mut all, _) = deliver::collect(job, |_| {}).await?;
    let whole = all.remove(0);
    let summary = compaction::summary_of(&whole);
    if let (Some(summary), Prompt::Chat(prompt)) = (&summary, &mut valid.request.generation.prompt) {
        compaction::replace(prompt, summary);
    }
    Ok(Some(Compacted { summary, usage: whole.usage }))
}

/// `POST /v1/messages/count_tokens`.
///
/// # Errors
/// Returns an error for an invalid request or an unknown model.
pub async fn count_tokens(
    State(services): State<Services>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Json<Count>, ApiError> {
    let body = body::read(request).await?;
    let mut request = body::parse_raw(&body)?;
    model_choice::fill(&services.catalogue, &mut request).await?;
    let valid = parse::parse_count(request)?;
    body::check_text(body.size(), &valid.prompts)?;
    drop(body);
    let (target, prompts) = Target::from_prompts(tenant, valid);
    let input_tokens = services.dispatcher.count_tokens(&target, &prompts).await?;
    Ok(Json(Count { input_tokens }))
}
