//! Handlers of chat completions and completions.

use std::time::Instant;

use axum::Extension;
use axum::extract::{Request, State};
use axum::response::Response;
use ipc_proto::Result;

use crate::access::Tenant;
use crate::dispatch::deliver::{Job, Whole};
use crate::dispatch::{Services, deliver};
use crate::inference::original::WireProtocol;
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::{json, unix_seconds};
use crate::protocols::common::body::{self, Body};
use crate::protocols::common::labels;
use crate::protocols::common::model_choice::{self, NamesModel};
use crate::protocols::common::original;
use crate::protocols::error::ApiError;
use crate::protocols::openai::choices::ChoicesRequest;
use crate::protocols::openai::write::{AnswerHead, ChunkWriter, Endpoint, Timer};
use crate::protocols::openai::{chat, completions};

/// `POST /v1/chat/completions`.
///
/// # Errors
/// Returns every error before the first token.
pub async fn create_chat(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    Ok(generate(services, (id, tenant), Endpoint::Chat, chat::parse::parse, request).await?)
}

/// `POST /v1/completions`.
///
/// # Errors
/// Returns every error before the first token.
pub async fn create_completion(
    State(services): State<Services>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Result<Response, ApiError> {
    Ok(generate(services, (id, tenant), Endpoint::Completions, completions::parse::parse, request).await?)
}

async fn generate<T: Body + NamesModel>(
    services: Services,
    sender: (RequestId, Tenant),
    endpoint: Endpoint,
    parse: fn(T) -> Result<ChoicesRequest>,
    request: Request,
) -> Result<Response> {
    let labels = labels::from_headers(request.headers());
    let names = services.names.now();
    let headers = original::headers(&names, request.headers());
    let body = body::read(request).await?;
    let mut typed = body::parse_raw(&body);
    if let Ok(request) = &mut typed {
        model_choice::fill(&services.catalogue, request).await?;
    }
    let mut parsed = typed.and_then(parse).and_then(|valid| {
        body::check_text(body.size(), valid.request.prompts())?;
        Ok(valid)
    });
    if endpoint == Endpoint::Chat {
        let known = parsed.as_ref().ok().map(|valid| (&*valid.request.model, valid.request.stream.is_some()));
        let original = original::keep(&names, (WireProtocol::Chat, headers), body.into_bytes(), known);
        parsed = original::join(parsed, original, parse, |valid| &mut valid.request);
    }
    let ChoicesRequest { request, form } = parsed?.with_labels(labels);
    let mut timer = Timer::new(Instant::now());
    let (choices, streaming) = (request.outputs(), request.stream);
    let prefix = match endpoint {
        Endpoint::Chat => "chatcmpl",
        Endpoint::Completions => "cmpl",
    };
    let own_id = || uuid::Uuid::new_v4().simple().to_string();
    let answer_id = format!("{prefix}-{}", form.request_id.clone().unwrap_or_else(own_id));
    let mut head =
        AnswerHead { endpoint, id: answer_id, created: unix_seconds(), model: request.model.clone(), form };
    let job = Job::new(services, sender, endpoint.path(), request);
    match streaming {
        Some(streaming) => {
            let chunks = ChunkWriter::new(head, choices, streaming.include_usage, timer);
            deliver::stream(job, chunks, None).await
        }
        None => {
            let (all, served) = match deliver::whole(job, |_| timer.mark_token()).await? {
                Whole::Verbatim(response) => return Ok(response),
                Whole::Outputs(all, served) => (all, served),
            };
            served.rename(&mut head.model);
            json(head.answer(all, timer), served)
        }
    }
}
