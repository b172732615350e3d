//! Handlers of Anthropic's Messages API.

use axum::extract::{Request, State};
use axum::response::Response;
use axum::{Extension, Json};

use crate::access::Tenant;
use crate::dispatch::deliver::Job;
use crate::dispatch::{Services, Target, deliver};
use crate::inference::request_id::RequestId;
use crate::protocols::anthropic::messages::parse::{self, ValidMessages};
use crate::protocols::anthropic::messages::wire::Count;
use crate::protocols::anthropic::messages::write::{MessageHead, MessageWriter};
use crate::protocols::common::answer::json;
use crate::protocols::common::{body, labels, model_choice};
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
    let sender = labels::from_headers(request.headers());
    let request = model_choice::fill(&services.fleet, body::lenient_json(request).await?).await?;
    let mut valid = parse::parse(request)?;
    valid.request = valid.request.with_labels(sender);
    let ValidMessages { request, max_tokens, hide_thinking, diagnose } = valid;
    let head = MessageHead {
        id: format!("msg_{}", uuid::Uuid::new_v4().simple()),
        request_id: id.0.clone(),
        model: request.model.clone(),
        stops: request.generation.stop.clone(),
        max_tokens,
        hide_thinking,
        diagnose,
    };
    let streamed = request.stream.is_some();
    let job = Job::new(services, (id, tenant), "/v1/messages", request);
    if streamed {
        return Ok(deliver::stream(job, MessageWriter::new(head), None).await?);
    }
    let (mut all, capacity) = deliver::collect(job, |_| {}).await?;
    Ok(json(head.answer(all.remove(0)), capacity)?)
}

/// `POST /v1/messages/count_tokens`.
///
/// # Errors
/// Returns an error for an invalid request or an unknown model.
pub async fn count_tokens(
    State(services): State<Services>,
    request: Request,
) -> Result<Json<Count>, ApiError> {
    let request = model_choice::fill(&services.fleet, body::lenient_json(request).await?).await?;
    let valid = parse::parse_count(request)?;
    let (target, prompts) = Target::from_prompts(valid);
    let input_tokens = services.dispatcher.count_tokens(&target, &prompts).await?;
    Ok(Json(Count { input_tokens }))
}
