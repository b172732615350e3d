//! Gives every request an id. Its response headers and all log lines about it carry the id.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::{SpanContext, TraceContextExt};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Instrument;

use crate::inference::directory::Directory;
use crate::inference::request_id::{LatestCourse, RequestId};
use crate::telemetry::{ids, logs};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// OpenAI's clients read the time to the response from this header.
const PROCESSING: HeaderName = HeaderName::from_static("openai-processing-ms");
const MAX_BYTES: usize = 128;

/// The span that a `traceparent` names, or else a new trace without a span.
fn client_span(headers: &HeaderMap) -> SpanContext {
    if headers.contains_key("traceparent") {
        let context = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
        let span = context.span().span_context().clone();
        if span.is_valid() {
            return span;
        }
    }
    ids::new_trace()
}

/// Takes the client's `x-request-id`, or creates one, and handles the request in a span of that id.
pub async fn assign(State(names): State<Arc<Directory>>, mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER).and_then(|id| id.to_str().ok());
    let usable = given.filter(|id| !id.is_empty() && id.len() <= MAX_BYTES).map(str::to_owned);
    let id = usable.unwrap_or_else(|| format!("req_{}", uuid::Uuid::new_v4().simple()));
    // The level of errors: a filter for warnings must keep the id.
    let span = tracing::error_span!("request", id);
    let value = HeaderValue::from_str(&id);
    let headers = names.now().routed_headers(request.headers());
    let parent = Arc::new(client_span(request.headers()));
    let latest = LatestCourse::default();
    logs::attach(&span, &id, parent.trace_id());
    request.extensions_mut().insert(RequestId { name: id, headers, parent, content: None, latest });
    let path = request.uri().path().to_owned();
    let start = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.in_scope(|| tracing::debug!(path, status = response.status().as_u16(), "answered"));
    // For a stream this is the time to its beginning.
    response.headers_mut().insert(PROCESSING, (start.elapsed().as_millis() as u64).into());
    if let Ok(value) = value {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
