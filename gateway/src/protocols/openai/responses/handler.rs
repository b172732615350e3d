//! Handlers of OpenAI's Responses API.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipc_proto::generate::Event;
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, ErrorKind, Result};
use serde_json::Value;

use crate::access::Tenant;
use crate::dispatch::deliver::{EndHook, Job};
use crate::dispatch::replay_buffer::{ReplayWriter, replay_buffer};
use crate::dispatch::writer::ResponseWriter;
use crate::dispatch::{Services, Target, deliver};
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::unix_seconds;
use crate::protocols::common::{body, labels};
use crate::protocols::error::ApiError;
use crate::protocols::openai::responses::answer::{Count, Deleted, Page};
use crate::protocols::openai::responses::parse::ValidResponse;
use crate::protocols::openai::responses::store::ResponseStore;
use crate::protocols::openai::responses::wire::{GetQuery, Item, ItemsQuery};
use crate::protocols::openai::responses::write::{ResponseBuilder, ResponseHead};
use crate::protocols::openai::responses::{parse, wire as api};
use crate::store::responses::StoredResponse;

type Answer<T = Response> = std::result::Result<T, ApiError>;

const MAX_PAGE: usize = 100;
const DEFAULT_PAGE: usize = 20;
/// Maximum number of item references in one request. Each one costs a database query.
const MAX_REFERENCES: usize = 100;

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
    let sender = labels::from_headers(request.headers());
    let mut request: api::Request = body::json(request).await?;
    let history = load_history(&responses, &tenant, &mut request).await?;
    let mut valid = parse::parse(request, &history)?;
    valid.request = valid.request.with_labels(sender);
    let response_id = format!("resp_{}", uuid::Uuid::new_v4().simple());
    let stores = valid.store.unwrap_or(true) || valid.background;
    valid.echo.insert("store".into(), stores.into());
    let head = ResponseHead {
        id: response_id,
        created_at: unix_seconds(),
        model: valid.request.model.clone(),
        echo: std::mem::take(&mut valid.echo),
        encrypt: valid.encrypt,
        summarise: valid.summarise,
        calls: std::mem::take(&mut valid.calls),
    };
    let builder = ResponseBuilder::new(head);
    let saver = stores.then(|| ResponseSaver::new(&responses, &tenant, &valid));
    let (streamed, background) = (valid.request.stream.is_some(), valid.background);
    let job = Job::new(services, (id, tenant), "/v1/responses", valid.request);
    let response = match saver {
        Some(saver) if background => generate_in_background(job, builder, saver).await,
        saver if streamed => stream(job, builder, saver).await,
        saver => generate(job, builder, saver).await,
    };
    Ok(response?)
}

async fn generate(job: Job, mut builder: ResponseBuilder, saver: Option<ResponseSaver>) -> Result<Response> {
    let capacity = collect(job, &mut builder).await?;
    if let Some(saver) = saver
        && saver.store(saver.snapshot(&builder)).await.is_err()
    {
        // The client still gets its response.
        builder.mark_not_stored();
    }
    Ok((capacity.map(Extension), Json(builder.response())).into_response())
}

/// Collects a generation event by event, so that each log probability stays with its text.
async fn collect(job: Job, builder: &mut ResponseBuilder) -> Result<Option<Capacity>> {
    let mut ignored = Vec::new();
    let add = |event: &Event| {
        if !matches!(event, Event::Failed(_)) {
            builder.push(&mut ignored, 0, event);
            ignored.clear();
        }
    };
    deliver::collect(job, add).await.map(|(_, capacity)| capacity)
}

async fn stream(job: Job, builder: ResponseBuilder, saver: Option<ResponseSaver>) -> Result<Response> {
    let failed = ResponseBuilder::new(builder.head().clone());
    let end_hook = saver.map(|saver| -> EndHook<ResponseBuilder> {
        Box::new(move |builder| {
            let stored = saver.snapshot(builder);
            Box::pin(async move { saver.store(stored).await.is_ok() })
        })
    });
    match deliver::stream(job, builder, end_hook).await {
        // Codex handles the codes of these errors inside a stream, but gives up at their HTTP statuses.
        Err(error) if matches!(error.kind, ErrorKind::ContextLength | ErrorKind::Overloaded) => {
            Ok(deliver::failure_stream(failed, &error))
        }
        outcome => outcome,
    }
}

async fn generate_in_background(
    job: Job,
    mut builder: ResponseBuilder,
    saver: ResponseSaver,
) -> Result<Response> {
    saver.responses.store_pending(saver.snapshot(&builder), unix_seconds()).await?;
    let streamed = job.request.stream.is_some();
    let (writer, replay) = replay_buffer();
    let response =
        if streamed { deliver::replay(&replay, 0) } else { Json(builder.response()).into_response() };
    let (responses, id) = (Arc::clone(&saver.responses), builder.id().to_owned());
    if streamed {
        responses.add_replay(id.clone(), replay);
    }
    responses.run(id, async move {
        let mut last = Vec::new();
        if streamed {
            builder.open(&mut last, 0);
            writer.push_events(&mut last);
        }
        let add = |event: &Event| {
            if !matches!(event, Event::Failed(_)) {
                builder.push(&mut last, 0, event);
            }
            if event.is_last() {
                return;
            }
            if streamed {
                writer.push_events(&mut last);
            } else {
                last.clear();
            }
        };
        match deliver::collect(job, add).await {
            Ok(_) => builder.end(&mut last, true),
            Err(error) => {
                last.clear();
                builder.fail(&mut last, &error);
            }
        }
        (saver.snapshot(&builder).response, FinalEvents { writer, last })
    });
    Ok(response)
}

/// The last events of a stream. They are pushed on drop, after the response was stored.
struct FinalEvents {
    writer: ReplayWriter,
    last: Vec<u8>,
}

impl Drop for FinalEvents {
    fn drop(&mut self) {
        self.writer.push_events(&mut self.last);
    }
}

/// Stores one response.
struct ResponseSaver {
    responses: Arc<ResponseStore>,
    owner: String,
    previous: Option<String>,
    input: Vec<Item>,
}

impl ResponseSaver {
    fn new(responses: &Arc<ResponseStore>, tenant: &Tenant, valid: &ValidResponse) -> Self {
        let mut input = valid.input.clone();
        for item in &mut input {
            item.id.get_or_insert_with(|| format!("item_{}", uuid::Uuid::new_v4().simple()));
        }
        let (owner, previous) = (tenant.name().to_owned(), valid.previous.clone());
        Self { responses: Arc::clone(responses), owner, previous, input }
    }

    /// Returns the database row of the response in its present state.
    fn snapshot(&self, builder: &ResponseBuilder) -> StoredResponse {
        // Strings, numbers, lists and objects with string keys always serialize.
        let input = serde_json::to_string(&self.input).unwrap_or_default();
        let response = serde_json::to_string(&builder.response()).unwrap_or_default();
        let (id, owner) = (builder.id().to_owned(), self.owner.clone());
        StoredResponse { id, owner, previous: self.previous.clone(), input, response, instance: None }
    }

    async fn store(&self, stored: StoredResponse) -> Result<()> {
        self.responses.store(&stored, unix_seconds()).await
    }
}

/// Loads the items of previous responses, and replaces item references in the request by the items.
///
/// # Errors
/// Returns an error for an unknown previous response or too many references.
pub async fn load_history(
    responses: &ResponseStore,
    tenant: &Tenant,
    request: &mut api::Request,
) -> Result<Vec<Item>> {
    let history = match &request.previous_response_id {
        Some(id) => responses.history(tenant.name(), id).await?,
        None => Vec::new(),
    };
    let Some(api::Input::Items(items)) = &mut request.input else { return Ok(history) };
    let mut referred = 0;
    for item in items {
        let Some(id) = item.reference() else { continue };
        referred += 1;
        if referred > MAX_REFERENCES {
            return Err(Error::invalid("input", format!("input: at most {MAX_REFERENCES} references")));
        }
        let known = history.iter().find(|item| item.id.as_deref() == Some(id)).cloned();
        let found = match known {
            Some(known) => Some(known),
            None => responses.item(tenant.name(), id).await?,
        };
        if let Some(found) = found {
            *item = found;
        }
    }
    Ok(history)
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
    let mut request: api::Request = body::json(request).await?;
    let history = load_history(&responses, &tenant, &mut request).await?;
    let valid = parse::parse_count(request, &history)?;
    let (target, prompts) = Target::from_prompts(valid);
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
    query: std::result::Result<Query<GetQuery>, QueryRejection>,
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
    query: std::result::Result<Query<ItemsQuery>, QueryRejection>,
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
