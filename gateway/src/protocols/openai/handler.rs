//! Chat and completions: one path for both.

use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use ipc_proto::Result;

use crate::access::Tenant;
use crate::dispatch::deliver::Job;
use crate::dispatch::{Services, deliver as stream};
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::{json, unix_seconds};
use crate::protocols::common::{body, labels};
use crate::protocols::error::ApiError;
use crate::protocols::openai::choices::ChoicesRequest;
use crate::protocols::openai::write::{Chunks, Endpoint, Head, Timer};
use crate::protocols::openai::{chat, completions};

/// `POST /v1/chat/completions`.
///
/// # Errors
/// Everything that goes wrong before the first token.
pub async fn create_chat(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> std::result::Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let valid = chat::parse::parse(body::json(request).await?)?.with_labels(sender);
    Ok(generate(services, (id, tenant), Endpoint::Chat, valid).await?)
}

/// `POST /v1/completions`.
///
/// # Errors
/// Everything that goes wrong before the first token.
pub async fn create_completion(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> std::result::Result<Response, ApiError> {
    let sender = labels::of_headers(request.headers());
    let valid = completions::parse::parse(body::json(request).await?)?.with_labels(sender);
    Ok(generate(services, (id, tenant), Endpoint::Completions, valid).await?)
}

async fn generate(
    services: Services,
    sender: (RequestId, Tenant),
    endpoint: Endpoint,
    valid: ChoicesRequest,
) -> Result<Response> {
    let mut timer = Timer::new(Instant::now());
    let ChoicesRequest { request, form } = valid;
    let (choices, streaming) = (request.outputs(), request.stream);
    let prefix = match endpoint {
        Endpoint::Chat => "chatcmpl",
        Endpoint::Completions => "cmpl",
    };
    let answer_id = format!("{prefix}-{}", uuid::Uuid::new_v4().simple());
    let head = Head { endpoint, id: answer_id, created: unix_seconds(), model: request.model.clone(), form };
    let job = Job::new(services, sender, endpoint.path(), request);
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
