//! Detects the protocol that a client speaks, and writes errors and rate-limit headers in that protocol's form. An error says which
//! model was asked, as an answer does.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use ipc_proto::Error;
use ipc_proto::worker::Capacity;

use crate::access::budget::Standing;
use crate::admin::view as admin;
use crate::dispatch::deliver::Served;
use crate::inference::request_id::RequestId;
use crate::protocols::anthropic::error::Body;
use crate::protocols::common::field_names::message;
use crate::protocols::common::{field_names, rate_limits as limits};
use crate::protocols::error::Failure;
use crate::protocols::protocol::Protocol;
use crate::protocols::{ollama, openai};

/// Anthropic's SDKs read the request's id from this header.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// Passes the protocol to the handlers, rewrites errors for protocols other than OpenAI's, and adds the rate-limit headers.
pub async fn apply(mut request: Request, next: Next) -> Response {
    let protocol = Protocol::detect(request.uri().path(), request.headers());
    let (id, latest) = match request.extensions().get::<RequestId>() {
        Some(id) => (id.name.clone(), id.latest.clone()),
        None => Default::default(),
    };
    request.extensions_mut().insert(protocol);
    let mut response = next.run(request).await;
    let failure = response.extensions_mut().remove().map(|Failure(error)| error);
    let capacity = response.extensions_mut().remove().or(failure.as_ref().and_then(|error| error.capacity));
    response
        .headers_mut()
        .extend(capacity.map(|left| rate_limits(protocol, left, failure.is_some())).unwrap_or_default());
    if let Some(standing) = response.extensions_mut().remove() {
        response.headers_mut().extend(key_limits(protocol, standing));
    }
    if let Some(error) = failure {
        response = rewrite(protocol, response, &error, &id);
        if let Some(asked) = latest.get().and_then(|course| Served::asked(&course)) {
            response = asked.attach(response);
        }
    }
    if protocol == Protocol::Anthropic
        && let Ok(id) = HeaderValue::from_str(&id)
    {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The error response with the body that `protocol` defines, instead of OpenAI's.
fn rewrite(protocol: Protocol, response: Response, error: &Error, id: &str) -> Response {
    let (mut head, body) = response.into_parts();
    let written = match protocol {
        Protocol::OpenAi => return Response::from_parts(head, body),
        Protocol::Responses => Json(openai::error::Body::new(error, field_names::responses)).into_response(),
        Protocol::Anthropic => Json(Body::new(error, head.status.as_u16(), id)).into_response(),
        Protocol::Ollama => {
            Json(ollama::wire::Problem { error: message(error, field_names::ollama) }).into_response()
        }
        Protocol::Admin => {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            ([kind], Json(admin::problem(error, head.status, id))).into_response()
        }
    };
    for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE] {
        head.headers.remove(name);
    }
    head.headers.extend(written.headers().clone());
    Response::from_parts(head, written.into_body())
}

/// Headers with the remaining limits of the request's key.
fn key_limits(protocol: Protocol, standing: Standing) -> HeaderMap {
    match protocol {
        Protocol::OpenAi | Protocol::Responses => limits::openai_key(standing),
        Protocol::Anthropic => limits::anthropic_key(standing, Utc::now()),
        Protocol::Ollama | Protocol::Admin => HeaderMap::new(),
    }
}

fn rate_limits(protocol: Protocol, capacity: Capacity, is_refused: bool) -> HeaderMap {
    match protocol {
        Protocol::OpenAi | Protocol::Responses => limits::openai(capacity, is_refused),
        Protocol::Anthropic => limits::anthropic(capacity, is_refused, Utc::now()),
        // These protocols have no such headers.
        Protocol::Ollama | Protocol::Admin => HeaderMap::new(),
    }
}
