//! OpenAI's Responses.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State as Extract};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use ipc_proto::generate::Event;
use ipc_proto::{Error, ErrorKind, Result};
use serde_json::Value;

use super::generate::now;
use super::stream::{self, Ending, Job};
use crate::api::openai::responses::answer::{Count, Deleted, Items as ItemList};
use crate::api::openai::responses::{self as api, GetQuery, Item, ItemsQuery};
use crate::audit::record::Observed;
use crate::body;
use crate::db::responses::Stored;
use crate::error::ApiError;
use crate::middleware::auth::Tenant;
use crate::middleware::request_id::RequestId;
use crate::responses::Responses;
use crate::state::State;
use crate::translate::names;
use crate::translate::responses::{Head, Items};
use crate::translate::wire::Wire;
use crate::validate::responses::{self as validate, ValidResponse};

type Answer<T = Response> = std::result::Result<T, ApiError>;

const MAX_PAGE: usize = 100;
const DEFAULT_PAGE: usize = 20;

/// `POST /v1/responses`.
///
/// # Errors
/// Everything that goes wrong before the response begins.
pub async fn create(
    Extract(state): Extract<State>,
    Extension(id): Extension<RequestId>,
    Extension(tenant): Extension<Tenant>,
    request: Request,
) -> Answer {
    let request: api::Request = body::json(request).await?;
    let history = history(&state, &request).await?;
    let mut valid = validate::create(request, &history)?;
    let observed = Observed::new(state.audit.clone(), &id.0, "/v1/responses", &valid.request);
    let response_id = format!("resp_{}", uuid::Uuid::new_v4().simple());
    let kept = valid.store.unwrap_or_else(|| state.responses.can_keep()) || valid.background;
    valid.echo.insert("store".into(), kept.into());
    let head = Head {
        id: response_id,
        created_at: now(),
        model: valid.request.model.clone(),
        echo: std::mem::take(&mut valid.echo),
        encrypt: valid.encrypt,
        summarise: valid.summarise,
    };
    let items = Items::new(head);
    let keeper = kept.then(|| Keeper::new(&state.responses, &valid));
    let (streamed, background) = (valid.request.stream.is_some(), valid.background);
    let job = Job { state, valid: valid.request, observed, tenant };
    let answer = match (background, keeper) {
        (true, Some(keeper)) => in_background(job, items, keeper).await,
        (_, keeper) if streamed => streaming(job, items, keeper).await,
        (_, keeper) => whole(job, items, keeper).await,
    };
    Ok(answer.map_err(names::of_responses)?)
}

async fn whole(job: Job, mut items: Items, keeper: Option<Keeper>) -> Result<Response> {
    fold(job, &mut items).await?;
    if let Some(keeper) = keeper {
        keeper.keep(&items).await?;
    }
    Ok(Json(items.response()).into_response())
}

/// Adds a whole generation to a response, in the steps in which it comes: so each token's log probability is its own text's.
async fn fold(job: Job, items: &mut Items) -> Result<()> {
    let mut unread = Vec::new();
    let add = |event: &Event| {
        if !matches!(event, Event::Failed(_)) {
            items.push(&mut unread, event);
            unread.clear();
        }
    };
    stream::whole_all(job, Vec::new(), add).await.map(drop)
}

async fn streaming(job: Job, items: Items, keeper: Option<Keeper>) -> Result<Response> {
    let retold = Items::new(items.head().clone());
    let ending = keeper.map(|keeper| -> Ending<Items> {
        Box::new(move |items| {
            let stored = keeper.stored(items);
            Box::pin(async move {
                // The client has its answer all the same.
                if let Err(error) = keeper.write(stored).await {
                    tracing::error!(%error, "a response could not be kept");
                }
            })
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
    keeper.keep(&items).await?;
    let begun = Json(items.response()).into_response();
    let all = Arc::clone(&keeper.all);
    all.run(items.id().to_owned(), async move {
        if let Err(error) = fold(job, &mut items).await {
            items.fail(&mut Vec::new(), &error);
        }
        keeper.stored(&items).response
    });
    Ok(begun)
}

/// Keeps one response.
struct Keeper {
    all: Arc<Responses>,
    previous: Option<String>,
    input: Vec<Item>,
}

impl Keeper {
    fn new(all: &Arc<Responses>, valid: &ValidResponse) -> Self {
        let mut input = valid.input.clone();
        for item in &mut input {
            item.id.get_or_insert_with(|| format!("item_{}", uuid::Uuid::new_v4().simple()));
        }
        Self { all: Arc::clone(all), previous: valid.previous.clone(), input }
    }

    fn stored(&self, items: &Items) -> Stored {
        // Strings, numbers, lists and objects with string keys always serialise.
        let input = serde_json::to_string(&self.input).unwrap_or_default();
        let response = serde_json::to_string(&items.response()).unwrap_or_default();
        Stored { id: items.id().to_owned(), previous: self.previous.clone(), input, response }
    }

    async fn keep(&self, items: &Items) -> Result<()> {
        self.write(self.stored(items)).await
    }

    async fn write(&self, stored: Stored) -> Result<()> {
        self.all.keep(&stored, now()).await
    }
}

async fn history(state: &State, request: &api::Request) -> Result<Vec<Item>> {
    match &request.previous_response_id {
        Some(id) => state.responses.history(id).await,
        None => Ok(Vec::new()),
    }
}

/// `POST /v1/responses/input_tokens`.
///
/// # Errors
/// A wrong request, an unknown model.
pub async fn input_tokens(Extract(state): Extract<State>, request: Request) -> Answer<Json<Count>> {
    let request: api::Request = body::json(request).await?;
    let history = history(&state, &request).await?;
    let (model, prompt) = validate::count(request, &history)?;
    let counted = state.local.count_tokens(&model, prompt).await;
    let input_tokens = counted.map_err(names::of_responses)?;
    Ok(Json(Count { object: "response.input_tokens", input_tokens }))
}

/// `GET /v1/responses/{id}`.
///
/// # Errors
/// When it is not kept.
pub async fn get(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    query: std::result::Result<Query<GetQuery>, QueryRejection>,
) -> Answer<Json<Value>> {
    let Query(query) = query.map_err(|e| Error::invalid("stream", e.body_text()))?;
    if query.stream == Some(true) || query.starting_after.is_some() {
        let text = "stream: a kept response is given whole; it cannot be streamed again";
        return Err(Error::invalid("stream", text).into());
    }
    Ok(Json(state.responses.get(&id).await?))
}

/// `DELETE /v1/responses/{id}`.
///
/// # Errors
/// When it is not kept.
pub async fn delete(Extract(state): Extract<State>, Path(id): Path<String>) -> Answer<Json<Deleted>> {
    state.responses.delete(&id).await?;
    Ok(Json(Deleted { id, object: "response", deleted: true }))
}

/// `POST /v1/responses/{id}/cancel`.
///
/// # Errors
/// When it is not kept, or not one that is made while nobody waits.
pub async fn cancel(Extract(state): Extract<State>, Path(id): Path<String>) -> Answer<Json<Value>> {
    Ok(Json(state.responses.cancel(&id).await?))
}

/// `GET /v1/responses/{id}/input_items`.
///
/// # Errors
/// When it is not kept, or the page is wrong.
pub async fn input_items(
    Extract(state): Extract<State>,
    Path(id): Path<String>,
    query: std::result::Result<Query<ItemsQuery>, QueryRejection>,
) -> Answer<Json<ItemList>> {
    let Query(query) = query.map_err(|e| Error::invalid("limit", e.body_text()))?;
    let mut items = state.responses.input(&id).await?;
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
