//! OpenAI's Responses.

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
use crate::dispatch::deliver::{Ending, Job};
use crate::dispatch::replay_buffer::{ReplayWriter, replay_buffer};
use crate::dispatch::writer::Wire;
use crate::dispatch::{Services, Target, deliver as stream};
use crate::inference::request_id::RequestId;
use crate::protocols::common::answer::unix_seconds;
use crate::protocols::common::{body, labels};
use crate::protocols::error::ApiError;
use crate::protocols::openai::responses::answer::{Count, Deleted, Items as ItemList};
use crate::protocols::openai::responses::parse::ValidResponse;
use crate::protocols::openai::responses::store::Responses;
use crate::protocols::openai::responses::wire::{GetQuery, Item, ItemsQuery};
use crate::protocols::openai::responses::write::{Head, Items};
use crate::protocols::openai::responses::{parse as validate, wire as api};
use crate::store::responses::Stored;

type Answer<T = Response> = std::result::Result<T, ApiError>;

const MAX_PAGE: usize = 100;
const DEFAULT_PAGE: usize = 20;
/// Items of one request that are given by their ids, at most: each is looked up.
const MAX_REFERENCES: usize = 100;

/// `POST /v1/responses`.
///
/// # Errors
/// Everything that goes wrong before the response begins.
pub async fn create(
    State(services): State<Services>,
    State(responses): State<Arc<Responses>>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Answer {
    let sender = labels::of_headers(request.headers());
    let mut request: api::Request = body::json(request).await?;
    let history = conversation(&responses, &tenant, &mut request).await?;
    let mut valid = validate::create(request, &history)?;
    valid.request = valid.request.with_labels(sender);
    let response_id = format!("resp_{}", uuid::Uuid::new_v4().simple());
    let kept = valid.store.unwrap_or(true) || valid.background;
    valid.echo.insert("store".into(), kept.into());
    let head = Head {
        id: response_id,
        created_at: unix_seconds(),
        model: valid.request.model.clone(),
        echo: std::mem::take(&mut valid.echo),
        encrypt: valid.encrypt,
        summarise: valid.summarise,
    };
    let items = Items::new(head);
    let keeper = kept.then(|| Keeper::new(&responses, &tenant, &valid));
    let (streamed, background) = (valid.request.stream.is_some(), valid.background);
    let job = Job::new(services, (id, tenant), "/v1/responses", valid.request);
    let answer = match (background, keeper) {
        (true, Some(keeper)) => in_background(job, items, keeper).await,
        (_, keeper) if streamed => streaming(job, items, keeper).await,
        (_, keeper) => whole(job, items, keeper).await,
    };
    Ok(answer?)
}

async fn whole(job: Job, mut items: Items, keeper: Option<Keeper>) -> Result<Response> {
    let capacity = fold(job, &mut items).await?;
    if let Some(keeper) = keeper
        && keeper.keep(&items).await.is_err()
    {
        // The client has its answer all the same.
        items.not_kept();
    }
    Ok((capacity.map(Extension), Json(items.response())).into_response())
}

/// Adds a whole generation to a response, in the steps in which it comes: so each token's log probability is its own text's.
async fn fold(job: Job, items: &mut Items) -> Result<Option<Capacity>> {
    let mut unread = Vec::new();
    let add = |event: &Event| {
        if !matches!(event, Event::Failed(_)) {
            items.push(&mut unread, 0, event);
            unread.clear();
        }
    };
    stream::whole(job, add).await.map(|(_, capacity)| capacity)
}

async fn streaming(job: Job, items: Items, keeper: Option<Keeper>) -> Result<Response> {
    let retold = Items::new(items.head().clone());
    let ending = keeper.map(|keeper| -> Ending<Items> {
        Box::new(move |items| {
            let stored = keeper.stored(items);
            Box::pin(async move { keeper.write(stored).await.is_ok() })
        })
    });
    match stream::stream(job, items, ending).await {
        // Codex acts upon these by their code inside a stream, and gives up at their statuses.
        Err(error) if matches!(error.kind, ErrorKind::ContextLength | ErrorKind::Overloaded) => {
            Ok(stream::failed(retold, &error))
        }
        outcome => outcome,
    }
}

async fn in_background(job: Job, mut items: Items, keeper: Keeper) -> Result<Response> {
    keeper.begin(&items).await?;
    let streamed = job.request.stream.is_some();
    let (writer, replay) = replay_buffer();
    let begun = if streamed { stream::replayed(&replay, 0) } else { Json(items.response()).into_response() };
    let (all, id) = (Arc::clone(&keeper.all), items.id().to_owned());
    if streamed {
        all.record(id.clone(), replay);
    }
    all.run(id, async move {
        let mut last = Vec::new();
        if streamed {
            items.open(&mut last, 0);
            writer.push_events(&mut last);
        }
        let add = |event: &Event| {
            if !matches!(event, Event::Failed(_)) {
                items.push(&mut last, 0, event);
            }
            match event.is_last() {
                false if streamed => writer.push_events(&mut last),
                false => last.clear(),
                true => {}
            }
        };
        match stream::whole(job, add).await {
            Ok(_) => items.end(&mut last, true),
            Err(error) => {
                last.clear();
                items.fail(&mut last, &error);
            }
        }
        (keeper.stored(&items).response, Rest { writer, last })
    });
    Ok(begun)
}

/// The end of a stream: told when it is dropped.
struct Rest {
    writer: ReplayWriter,
    last: Vec<u8>,
}

impl Drop for Rest {
    fn drop(&mut self) {
        self.writer.push_events(&mut self.last);
    }
}

/// Keeps one response.
struct Keeper {
    all: Arc<Responses>,
    owner: String,
    previous: Option<String>,
    input: Vec<Item>,
}

impl Keeper {
    fn new(all: &Arc<Responses>, tenant: &Tenant, valid: &ValidResponse) -> Self {
        let mut input = valid.input.clone();
        for item in &mut input {
            item.id.get_or_insert_with(|| format!("item_{}", uuid::Uuid::new_v4().simple()));
        }
        let (owner, previous) = (tenant.name().to_owned(), valid.previous.clone());
        Self { all: Arc::clone(all), owner, previous, input }
    }

    fn stored(&self, items: &Items) -> Stored {
        // Strings, numbers, lists and objects with string keys always serialise.
        let input = serde_json::to_string(&self.input).unwrap_or_default();
        let response = serde_json::to_string(&items.response()).unwrap_or_default();
        let (id, owner) = (items.id().to_owned(), self.owner.clone());
        Stored { id, owner, previous: self.previous.clone(), input, response, maker: None }
    }

    async fn begin(&self, items: &Items) -> Result<()> {
        self.all.begin(self.stored(items), unix_seconds()).await
    }

    async fn keep(&self, items: &Items) -> Result<()> {
        self.write(self.stored(items)).await
    }

    async fn write(&self, stored: Stored) -> Result<()> {
        self.all.keep(&stored, unix_seconds()).await
    }
}

/// The items of earlier responses. Those that the new ones refer to by their ids take their places.
pub async fn conversation(
    responses: &Responses,
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
        let known = history.iter().find(|one| one.id.as_deref() == Some(id)).cloned();
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
/// A wrong request, an unknown model.
pub async fn input_tokens(
    State(services): State<Services>,
    State(responses): State<Arc<Responses>>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Answer<Json<Count>> {
    let mut request: api::Request = body::json(request).await?;
    let history = conversation(&responses, &tenant, &mut request).await?;
    let valid = validate::count(request, &history)?;
    let (target, prompts) = Target::of_prompts(valid);
    let input_tokens = services.dispatcher.count_tokens(&target, &prompts).await?;
    Ok(Json(Count { object: "response.input_tokens", input_tokens }))
}

/// `GET /v1/responses/{id}`.
///
/// # Errors
/// When it is not kept.
pub async fn get(
    State(responses): State<Arc<Responses>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
    query: std::result::Result<Query<GetQuery>, QueryRejection>,
) -> Answer {
    let Query(query) = query.map_err(|e| Error::invalid("stream", e.body_text()))?;
    if query.stream == Some(true) {
        let replay = responses.replay(tenant.name(), &id).await?;
        // Events are numbered from 0.
        let from = query.starting_after.map_or(0, |after| usize::try_from(after).unwrap_or(usize::MAX));
        let from = from.saturating_add(usize::from(query.starting_after.is_some()));
        return Ok(stream::replayed(&replay, from));
    }
    if query.starting_after.is_some() {
        return Err(Error::invalid("starting_after", "starting_after needs stream=true").into());
    }
    Ok(Json(responses.get(tenant.name(), &id).await?).into_response())
}

/// `DELETE /v1/responses/{id}`.
///
/// # Errors
/// When it is not kept.
pub async fn delete(
    State(responses): State<Arc<Responses>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Answer<Json<Deleted>> {
    responses.delete(tenant.name(), &id).await?;
    Ok(Json(Deleted { id, object: "response", deleted: true }))
}

/// `POST /v1/responses/{id}/cancel`.
///
/// # Errors
/// When it is not kept, or not one that is made while nobody waits.
pub async fn cancel(
    State(responses): State<Arc<Responses>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
) -> Answer<Json<Value>> {
    Ok(Json(responses.cancel(tenant.name(), &id).await?))
}

/// `GET /v1/responses/{id}/input_items`.
///
/// # Errors
/// When it is not kept, or the page is wrong.
pub async fn input_items(
    State(responses): State<Arc<Responses>>,
    Extension(tenant): Extension<Tenant>,
    Path(id): Path<String>,
    query: std::result::Result<Query<ItemsQuery>, QueryRejection>,
) -> Answer<Json<ItemList>> {
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
    Ok(Json(ItemList { object: "list", data: items, first_id, last_id, has_more }))
}
