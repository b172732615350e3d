//! Detects the protocol that a client speaks, and writes errors and rate-limit headers in that protocol's form.

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use ipc_proto::Error;
use ipc_proto::worker::Capacity;

use super::request_id::RequestId;
use crate::api::anthropic::error::Body;
use crate::api::{ollama, openai};
use crate::error::Failure;
use crate::translate::field_names::{self, message};
use crate::translate::{admin, limits};

/// What Anthropic's clients send with every request.
const VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// Where Anthropic's SDKs look for a request's name.
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// A client's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// OpenAI's; the default.
    OpenAi,
    /// OpenAI's Responses, whose fields have other names.
    Responses,
    /// Anthropic's.
    Anthropic,
    /// Ollama's, of the few endpoints that its clients look for.
    Ollama,
    /// Our own, of the admin API.
    Admin,
}

impl Protocol {
    /// By the path where it belongs to one of them, else by the header.
    pub fn of(path: &str, headers: &HeaderMap) -> Self {
        let under = |prefix: &str| {
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let shared = || under("/v1/models") || !path.starts_with("/v1/");
        if under("/admin") {
            return Self::Admin;
        }
        if under("/api") {
            return Self::Ollama;
        }
        if under("/v1/responses") {
            return Self::Responses;
        }
        if under("/v1/messages") || (headers.contains_key(VERSION) && shared()) {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }
}

/// Passes the protocol to the handlers, rewrites errors for protocols other than OpenAI's, and adds the rate-limit headers.
pub async fn shape(mut request: Request, next: Next) -> Response {
    let protocol = Protocol::of(request.uri().path(), request.headers());
    let id = request.extensions().get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
    request.extensions_mut().insert(protocol);
    let mut response = next.run(request).await;
    let failure = response.extensions_mut().remove().map(|Failure(error)| error);
    let capacity = response.extensions_mut().remove().or(failure.as_ref().and_then(|error| error.capacity));
    response.headers_mut().extend(capacity.map(|left| rate_limits(protocol, left)).unwrap_or_default());
    if let Some(error) = failure {
        response = rewritten(protocol, response, &error, &id);
    }
    if protocol == Protocol::Anthropic
        && let Ok(id) = HeaderValue::from_str(&id)
    {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// An error response with the protocol's body instead of OpenAI's.
fn rewritten(protocol: Protocol, response: Response, error: &Error, id: &str) -> Response {
    let (mut head, body) = response.into_parts();
    let written = match protocol {
        Protocol::OpenAi => return Response::from_parts(head, body),
        Protocol::Responses => Json(openai::error::Body::new(error, field_names::responses)).into_response(),
        Protocol::Anthropic => Json(Body::new(error, head.status.as_u16(), id)).into_response(),
        Protocol::Ollama => {
            Json(ollama::Problem { error: message(error, field_names::chat) }).into_response()
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

fn rate_limits(protocol: Protocol, capacity: Capacity) -> HeaderMap {
    match protocol {
        Protocol::OpenAi | Protocol::Responses => limits::openai(capacity),
        Protocol::Anthropic => limits::anthropic(capacity, Utc::now()),
        // Their endpoints use no capacity of a worker.
        Protocol::Ollama | Protocol::Admin => HeaderMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_before_the_header() {
        let mut headers = HeaderMap::new();
        for path in ["/v1/messages", "/v1/messages/count_tokens"] {
            assert_eq!(Protocol::of(path, &headers), Protocol::Anthropic, "{path}");
        }
        for path in ["/v1/models", "/v1/messagesx", "/v1/chat/completions", "/"] {
            assert_eq!(Protocol::of(path, &headers), Protocol::OpenAi, "{path}");
        }
        headers.insert(VERSION, HeaderValue::from_static("2023-06-01"));
        for path in ["/v1/models", "/v1/models/a/b", "/"] {
            assert_eq!(Protocol::of(path, &headers), Protocol::Anthropic, "{path}");
        }
        assert_eq!(Protocol::of("/v1/chat/completions", &headers), Protocol::OpenAi);
        assert_eq!(Protocol::of("/admin/v1/pool", &headers), Protocol::Admin);
        assert_eq!(Protocol::of("/api/tags", &headers), Protocol::Ollama);
        assert_eq!(Protocol::of("/apis", &HeaderMap::new()), Protocol::OpenAi);
    }
}
