//! Routes in the admin API.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::gateway::minute_of;
use ipc_proto::generate::Priority;
use ipc_proto::{Error, Result};

use super::provider_wire::{RouteList, RouteViews};
use super::refusal::Refusal;
use super::wire::Explain;
use crate::dispatch::{Judges, Services, Subject};
use crate::fleet::{FleetClient, facts};
use crate::inference::course::Course;
use crate::inference::excerpt::excerpt;
use crate::inference::names::Names;
use crate::inference::routing::{Decision, draw};
use crate::inference::sender::KeyIdentity;
use crate::protocols::common::body;
use crate::protocols::error::ApiError;
use crate::store::routing_store::{Loaded, RoutingStore};

/// `GET /admin/v1/routes`. Its entity tag is the revision.
///
/// # Errors
/// The database refuses.
pub async fn list(State(store): State<Arc<RoutingStore>>) -> Result<Response, Refusal> {
    Ok(tagged(view(&store, &store.load().await?)))
}

/// `PUT /admin/v1/routes`: replaces all routes that are not in `config.toml`. With `If-Match` only those of that revision.
///
/// # Errors
/// A wrong route, which is named by its place; the routes have changed; the database refuses.
pub async fn replace(State(store): State<Arc<RoutingStore>>, request: Request) -> Result<Response, Refusal> {
    let expected = expected(request.headers())?;
    let list: RouteList = body::json(request).await?;
    let loaded = store.set_routes(list.routes, expected).await?;
    tracing::info!(revision = loaded.routes_revision, "the routes were changed");
    Ok(tagged(view(&store, &loaded)))
}

/// The routes as they are shown.
pub fn view(store: &RoutingStore, loaded: &Loaded) -> RouteViews {
    RouteViews {
        revision: loaded.routes_revision,
        configured: store.configured_routes().iter().cloned().collect(),
        routes: loaded.routes.iter().cloned().collect(),
    }
}

fn tagged(routes: RouteViews) -> Response {
    let tag = format!("\"{}\"", routes.revision);
    let mut response = Json(routes).into_response();
    if let Ok(tag) = HeaderValue::try_from(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The revision that the client has read; `None` if any will do.
fn expected(headers: &HeaderMap) -> Result<Option<i64>> {
    let Some(tag) = headers.get(header::IF_MATCH) else { return Ok(None) };
    let text = tag.to_str().unwrap_or_default().trim();
    if text == "*" {
        return Ok(None);
    }
    let wrong = || Error::invalid("if-match", "if-match must be the etag of GET /admin/v1/routes");
    text.trim_matches('"').parse().map(Some).map_err(|_| wrong())
}

/// The part of the caches that texts of explanations share.
const EXPLAIN_SCOPE: &str = "routes/explain";

/// `POST /admin/v1/routes/explain`: chooses the route of a request. Asks no model but those that judge a given text.
///
/// # Errors
/// An invalid field.
pub async fn explain(State(services): State<Services>, request: Request) -> Result<Json<Decision>, ApiError> {
    let question = body::json(request).await?;
    let Services { names, fleet, judges, .. } = &services;
    Ok(Json(decision(&names.now(), fleet, judges, question).await?))
}

/// The decision about the request that a question describes.
///
/// # Errors
/// An invalid field.
pub async fn decision(
    names: &Names,
    fleet: &FleetClient,
    judges: &Judges,
    question: Explain,
) -> Result<Decision> {
    let headers = Some(Arc::new(headers(&question)?));
    let minute = question.time.as_deref().map(minute).transpose()?;
    let notes = serde_json::Value::Object(question.metadata).to_string();
    let course = Course::new(headers, Some(notes));
    let mut known = facts::of_call(names, fleet, &question.model, &course).await;
    (known.has_tools, known.has_images) = (question.has_tools, question.has_images);
    known.prompt_tokens = question.prompt_tokens;
    known.key = question.key.map(|key| KeyIdentity { id: key.as_str().into(), name: key.into() });
    known.minute = minute.unwrap_or(known.minute);
    known.draw = question.request_id.as_deref().map_or(0, draw);
    let max_bytes = names.judge().max_prompt_bytes as usize;
    known.text = question.text.and_then(|text| excerpt(&text, max_bytes)).map(Into::into);
    let request_id = question.request_id.unwrap_or_default();
    let subject = Subject {
        request_id: &request_id,
        cache_scope: EXPLAIN_SCOPE,
        priority: Priority::default(),
        time_left_ms: None,
    };
    Ok(judges.decide(names, known, subject).await)
}

fn headers(question: &Explain) -> Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    for (name, value) in &question.headers {
        let wrong = || Error::invalid("headers", format!("headers: \"{name}\" or its value is no header"));
        let name = HeaderName::try_from(name).map_err(|_| wrong())?;
        headers.insert(name, HeaderValue::try_from(value).map_err(|_| wrong())?);
    }
    Ok(headers)
}

fn minute(time: &str) -> Result<u16> {
    let wrong = || Error::invalid("time", format!("time: \"{time}\" is no time such as 22:15"));
    minute_of(time).ok_or_else(wrong)
}
