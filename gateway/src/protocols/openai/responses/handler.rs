//! Handlers of OpenAI's Responses API.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipc_proto::Error;
use ipc_proto::generate::Message;
use serde_json::{Value, json};

use crate::access::Tenant;
use crate::dispatch::{Services, Target, deliver};
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::unix_seconds;
use crate::protocols::common::checks::refuse;
use crate::protocols::common::{body, labels, model_choice, original};
use crate::protocols::error::ApiError;
use crate::protocols::openai::responses::answer::{
    Compacted, CompactedItem, Count, Deleted, InputText, Page,
};
use crate::protocols::openai::responses::compaction::passes::{CompactionResult, Compactor};
use crate::protocols::openai::responses::create::{Context, Creation, load_history};
use crate::protocols::openai::responses::store::ResponseStore;
use crate::protocols::openai::responses::wire::{GetQuery, Item, ItemsQuery};
use crate::protocols::openai::responses::write::to_usage;
use crate::protocols::openai::responses::{compaction, parse, wire as api};

type Answer<T = Response> = Result<T, ApiError>;

const MAX_PAGE: usize = 100;
const DEFAULT_PAGE: usize = 20;

/// `POST /v1/responses`.
///
/// # Errors
/// Returns every error before the response begins.
pub async fn create(
    State(services): State<Services>,
    State(responses): State<Arc<ResponseStore>>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Answer {
    let labels = labels::from_headers(request.headers());
    let headers = original::headers(&services.names.now(), request.headers());
    let context = Context { services, responses, id, tenant, labels };
    let body = body::read(request).await?;
    Ok(Creation::read(&context, headers, body).await?.respond().await?)
}

/// `POST /v1/responses/compact`.
///
/// # Errors
/// Returns an error for an invalid request, an unknown model, or a failed generation.
pub async fn compact(
    State(services): State<Services>,
    State(responses): State<Arc<ResponseStore>>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Compacted>> {
    let labels = labels::from_headers(request.headers());
    let body = body::read(request).await?;
    let mut request: api::Request = body::parse_raw(&body)?;
    model_choice::fill(&services.catalogue, &mut request).await?;
    for (name, value) in [("stream", request.stream), ("background", request.background)] {
        refuse(name, &value.map(Value::from), &[json!(false)])?;
    }
    let history = load_history(&responses, &tenant, &mut request).await?;
    let request = parse::parse(request, &history)?.request.with_labels(labels);
    body::check_text(body.size(), request.prompts())?;
    drop(body);
    let compactor = Compactor::new(services, (id, tenant), "/v1/responses/compact", request);
    let chat = compactor.chat()?;
    let outcome = compactor.summarise(chat).await?;
    Ok(Json(compacted(&chat.messages, outcome)))
}

/// Returns the user messages that stay, and the summary of the rest.
fn compacted(messages: &[Message], outcome: CompactionResult) -> Compacted {
    let suffix = uuid::Uuid::new_v4().simple().to_string();
    let kept = compaction::kept_texts(messages, outcome.kept_bytes).into_iter().enumerate();
    let message = |(at, text)| CompactedItem::Message {
        id: format!("msg_{suffix}_{at}"),
        status: "completed",
        role: "user",
        content: [InputText { r#type: "input_text", text }],
    };
    let mut output: Vec<_> = kept.map(message).collect();
    let encrypted_content = outcome.summary.map(|summary| summary.seal()).unwrap_or_default();
    output
        .push(CompactedItem::Compaction { id: format!("cmp_{suffix}_{}", output.len()), encrypted_content });
    Compacted {
        id: format!("resp_{suffix}"),
        object: "response.compaction",
        created_at: unix_seconds(),
        output,
        usage: to_usage(outcome.usage),
    }
}

/// `POST /v1/responses/input_tokens`.
///
/// # Errors
/// Returns an error for an invalid request or an unknown model.
pub async fn input_tokens(
    State(services): State<Services>,
    State(responses): State<Arc<ResponseStore>>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Count>> {
    let body = body::read(request).await?;
    let mut request: api::Request = body::parse_raw(&body)?;
    model_choice::fill(&services.catalogue, &mut request).await?;
    let history = load_history(&responses, &tenant, &mut request).await?;
    let valid = parse::parse_count(request, &history)?;
    body::check_text(body.size(), &valid.prompts)?;
    drop(body);
    let (target, prompts) = Target::from_prompts(tenant, valid);
    let input_tokens = services.dispatcher.count_tokens(&target, &prompts).await?;
    Ok(Json(Count { object: "response.input_tokens", input_tokens }))
}

/// `GET /v1/responses/{id}`.
///
/// # Errors
/// Returns an error if the response is not stored.
pub async fn get(
    State(responses): State<Arc<ResponseStore>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
    query: Result<Query<GetQuery>, QueryRejection>,
) -> Answer {
    let Query(query) = query.map_err(|e| Error::invalid("stream", e.body_text()))?;
    if query.stream == Some(true) {
        let replay = responses.replay(tenant.name(), &id).await?;
        // Event numbers start at 0.
        let from = query.starting_after.map_or(0, |after| usize::try_from(after).unwrap_or(usize::MAX));
        let from = from.saturating_add(usize::from(query.starting_after.is_some()));
        return Ok(deliver::replay(&replay, from));
    }
    if query.starting_after.is_some() {
        return Err(Error::invalid("starting_after", "starting_after needs stream=true").into());
    }
    Ok(Json(responses.get(tenant.name(), &id).await?).into_response())
}

/// `DELETE /v1/responses/{id}`.
///
/// # Errors
/// Returns an error if the response is not stored.
pub async fn delete(
    State(responses): State<Arc<ResponseStore>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Answer<Json<Deleted>> {
    responses.delete(tenant.name(), &id).await?;
    Ok(Json(Deleted { id, object: "response", deleted: true }))
}

/// `POST /v1/responses/{id}/cancel`.
///
/// # Errors
/// Returns an error if the response is not stored or not generated in the background.
pub async fn cancel(
    State(responses): State<Arc<ResponseStore>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Answer<Json<Value>> {
    Ok(Json(responses.cancel(tenant.name(), &id).await?))
}

/// `GET /v1/responses/{id}/input_items`.
///
/// # Errors
/// Returns an error if the response is not stored or the page is invalid.
pub async fn input_items(
    State(responses): State<Arc<ResponseStore>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
    query: Result<Query<ItemsQuery>, QueryRejection>,
) -> Answer<Json<Page>> {
    let Query(query) = query.map_err(|e| Error::invalid("limit", e.body_text()))?;
    let mut items = responses.input(tenant.name(), &id).await?;
    match query.order.as_deref() {
        None | Some("desc") => items.reverse(),
        Some("asc") => {}
        Some(_) => return Err(Error::invalid("order", "order must be asc or desc").into()),
    }
    let limit = query.limit.unwrap_or(DEFAULT_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Error::invalid("limit", format!("limit must lie between 1 and {MAX_PAGE}")).into());
    }
    if let Some(after) = query.after {
        let at = items.iter().position(|item| item.id.as_ref() == Some(&after));
        let at = at.ok_or_else(|| Error::invalid("after", format!("after: there is no item \"{after}\"")))?;
        items.drain(..=at);
    }
    let has_more = items.len() > limit;
    items.truncate(limit);
    let id = |item: Option<&Item>| item.and_then(|item| item.id.clone());
    let (first_id, last_id) = (id(items.first()), id(items.last()));
    Ok(Json(Page { object: "list", data: items, first_id, last_id, has_more }))
}
