//! Gives every request a name that its answer carries.

use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use crate::inference::request_id::RequestId;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Where OpenAI's clients look for the time that an answer took.
const PROCESSING: HeaderName = HeaderName::from_static("openai-processing-ms");
const MAX_BYTES: usize = 128;

/// Takes the client's `x-request-id`, or makes one.
pub async fn assign(mut request: Request, next: Next) -> Response {
    let given = request.headers().get(&HEADER).and_then(|id| id.to_str().ok());
    let usable = given.filter(|id| !id.is_empty() && id.len() <= MAX_BYTES).map(str::to_owned);
    let id = usable.unwrap_or_else(|| format!("req_{}", uuid::Uuid::new_v4().simple()));
    let value = HeaderValue::from_str(&id);
    request.extensions_mut().insert(RequestId(id));
    let start = Instant::now();
    let mut response = next.run(request).await;
    // Of a stream: until it begins.
    response.headers_mut().insert(PROCESSING, (start.elapsed().as_millis() as u64).into());
    if let Ok(value) = value {
        response.headers_mut().insert(HEADER, value);
    }
    response
}
