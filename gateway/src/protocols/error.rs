//! Converts errors to HTTP responses. Only this module maps errors to HTTP statuses.
//!
//! The response carries its error as an extension. `middleware::error_shape` rewrites the body from it for other protocols.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::{Error, ErrorKind, Origin, Resource};

use crate::protocols::common::field_names;
use crate::protocols::openai::error::Body;

/// An error that becomes a response in OpenAI's form.
#[derive(Debug)]
pub struct ApiError(pub Error);

/// The error of a response, as an extension of the response.
#[derive(Debug, Clone)]
pub struct Failure(pub Error);

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

/// Returns the HTTP status of an error kind.
pub fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::ContextLength => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthorized => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        // As in OpenAI's API: the id is a field of a body, not the path.
        ErrorKind::NotFound(Resource::PreviousResponse) => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound(_) => StatusCode::NOT_FOUND,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Overloaded | ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Upstream => StatusCode::BAD_GATEWAY,
        ErrorKind::Unavailable | ErrorKind::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorKind::ModelBroken | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Rounds `pause` up to whole seconds.
pub fn whole_seconds(pause: Duration) -> u64 {
    pause.as_millis().div_ceil(1000) as u64
}

/// The longest pause after which SDKs shall try again by themselves.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = status(self.0.kind);
        if status.is_server_error() {
            tracing::error!(kind = ?self.0.kind, origin = ?self.0.origin, "{}", self.0.message);
        }
        let mut response = (status, Json(Body::new(&self.0, field_names::chat))).into_response();
        let headers = response.headers_mut();
        let pause = self.0.disposition.retry_after();
        if let Some(pause) = pause {
            headers.insert(header::RETRY_AFTER, whole_seconds(pause).into());
        }
        if pause.is_none_or(|pause| pause > LONGEST_PAUSE) {
            // SDKs retry every 5xx status without this header, but a retry cannot repair a broken model folder.
            // Anthropic's sleep through any `retry-after`, be it until the end of the month.
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response.extensions_mut().insert(Failure(self.0));
        response
    }
}

/// Returns the response to an unknown path or method, with the router's status.
pub fn unroutable(status: StatusCode, message: impl Into<String>) -> Response {
    let error = Error::new(ErrorKind::InvalidRequest, Origin::Client, message);
    let mut response = (status, Json(Body::new(&error, field_names::chat))).into_response();
    response.extensions_mut().insert(Failure(error));
    response
}

#[cfg(test)]
mod tests {
    use ipc_proto::Disposition;

    use super::*;

    #[test]
    fn long_pause_is_not_slept_through() {
        for (seconds, shown) in [(60, None), (61, Some("false")), (2_000_000, Some("false"))] {
            let error = Error::new(ErrorKind::RateLimited, Origin::Gateway, "the month is used up");
            let error = error.with_disposition(Disposition::RetryAfter(Duration::from_secs(seconds)));
            let response = ApiError(error).into_response();
            let header = |name| response.headers().get(name).map(|value| value.to_str().unwrap());
            assert_eq!(header("retry-after"), Some(&*seconds.to_string()));
            assert_eq!(header("x-should-retry"), shown, "{seconds}");
        }
    }
}
