//! Turns the failures of providers into neutral errors.

use std::time::Duration;

use ipc_proto::error::RETRY_AFTER;
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Resource};
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER as RETRY_AFTER_HEADER};
use serde_json::Value;

/// The length of a provider's message, in characters, beyond which it is cut.
const MESSAGE_LIMIT: usize = 500;
/// Anthropic's status of an overload.
const OVERLOADED: u16 = 529;

/// A request that failed before the answer began.
#[derive(Debug)]
pub(super) struct Failure {
    /// The error for the client.
    pub error: Error,
    /// Whether the same request may succeed a moment later.
    pub is_passing: bool,
    /// The pause that the provider asks for, if any.
    pub pause: Option<Duration>,
}

impl Failure {
    /// An answer with a status that is no success. `provider` is its name in the settings.
    pub(super) fn from_status(provider: &str, status: StatusCode, headers: &HeaderMap, body: &str) -> Self {
        let pause =
            headers.get(RETRY_AFTER_HEADER).and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let pause = pause.map(Duration::from_secs);
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let kind = kind(status, &body);
        let text = if matches!(status.as_u16(), 401 | 403) {
            // Providers quote a part of the key.
            format!("the provider {provider} refuses the configured API key (status {status})")
        } else {
            let message = message(&body).unwrap_or_else(|| format!("status {status}"));
            format!("the provider {provider}: {message}")
        };
        let is_passing = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
        let disposition = if is_passing {
            Disposition::RetryAfter(pause.unwrap_or(RETRY_AFTER))
        } else {
            Disposition::Final
        };
        let error = Error::new(kind, Origin::Upstream, text).with_disposition(disposition);
        Self { error, is_passing, pause }
    }

    /// A backend's program that the supervisor could not start.
    pub(super) fn not_started(error: Error) -> Self {
        Self { error, is_passing: false, pause: None }
    }

    /// A provider that could not be reached.
    pub(super) fn unreachable(provider: &str, problem: &str) -> Self {
        let text = format!("the provider {provider} cannot be reached: {problem}");
        Self { error: Error::new(ErrorKind::Upstream, Origin::Upstream, text), is_passing: true, pause: None }
    }

    /// A provider that did not answer in time.
    pub(super) fn late(provider: &str, limit: Duration, idle: Option<Duration>) -> Self {
        let or_silent = idle.map(|idle| format!(", or sent nothing for {} s", idle.as_secs()));
        let text = format!(
            "the provider {provider} did not answer within {} s{}",
            limit.as_secs(),
            or_silent.unwrap_or_default()
        );
        let error = Error::new(ErrorKind::Timeout, Origin::Upstream, text);
        Self { error: error.with_disposition(Disposition::Final), is_passing: false, pause: None }
    }
}

fn kind(status: StatusCode, body: &Value) -> ErrorKind {
    let is_too_long = || {
        body.pointer("/error/code").and_then(Value::as_str) == Some("context_length_exceeded")
            || message(body).is_some_and(|text| text.contains("prompt is too long"))
    };
    match status.as_u16() {
        400 | 422 if is_too_long() => ErrorKind::ContextLength,
        400 | 422 => ErrorKind::InvalidRequest,
        404 => ErrorKind::NotFound(Resource::Model),
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimited,
        503 | OVERLOADED => ErrorKind::Overloaded,
        408 | 504 => ErrorKind::Timeout,
        _ => ErrorKind::Upstream,
    }
}

/// The message of an error body, as OpenAI, Anthropic, vLLM and others write it.
pub(super) fn message(body: &Value) -> Option<String> {
    let text = ["/error/message", "/message", "/error", "/detail"]
        .iter()
        .find_map(|pointer| body.pointer(pointer).and_then(Value::as_str))?;
    Some(text.chars().take(MESSAGE_LIMIT).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(status: u16, body: &Value, pause: Option<&str>) -> Failure {
        let mut headers = HeaderMap::new();
        if let Some(pause) = pause {
            headers.insert(RETRY_AFTER_HEADER, pause.parse().unwrap());
        }
        Failure::from_status("far", StatusCode::from_u16(status).unwrap(), &headers, &body.to_string())
    }

    #[test]
    fn status_gives_the_kind_and_whether_to_try_again() {
        for (status, kind, is_passing) in [
            (400, ErrorKind::InvalidRequest, false),
            (404, ErrorKind::NotFound(Resource::Model), false),
            (413, ErrorKind::TooLarge, false),
            (429, ErrorKind::RateLimited, true),
            (500, ErrorKind::Upstream, true),
            (503, ErrorKind::Overloaded, true),
            (529, ErrorKind::Overloaded, true),
        ] {
            let failure = failure(status, &json!({"error": {"message": "no"}}), None);
            assert_eq!((failure.error.kind, failure.is_passing), (kind, is_passing), "{status}");
            assert_eq!(failure.error.is_retryable(), is_passing);
            assert_eq!(failure.error.message, "the provider far: no");
        }
    }

    #[test]
    fn pause_reaches_the_client() {
        let failure = failure(429, &json!({}), Some("7"));
        assert_eq!(failure.pause, Some(Duration::from_secs(7)));
        assert_eq!(failure.error.disposition.retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn refused_key_is_not_quoted() {
        let body = json!({"error": {"message": "Incorrect API key provided: sk-ab***yz"}});
        let text = failure(401, &body, None).error.message;
        assert!(text.contains("refuses the configured API key") && !text.contains("sk-"), "{text}");
    }

    #[test]
    fn too_long_prompt_is_told_apart() {
        let openai = json!({"error": {"message": "m", "code": "context_length_exceeded"}});
        let anthropic = json!({"error": {"message": "prompt is too long: 9 tokens > 8 maximum"}});
        for body in [openai, anthropic] {
            assert_eq!(failure(400, &body, None).error.kind, ErrorKind::ContextLength);
        }
    }

    #[test]
    fn message_is_found_in_every_form_and_cut() {
        for body in [json!({"message": "m"}), json!({"error": "m"}), json!({"detail": "m"})] {
            assert_eq!(message(&body).as_deref(), Some("m"));
        }
        assert_eq!(message(&json!({"error": "é".repeat(900)})).unwrap().chars().count(), 500);
        assert_eq!(message(&json!([1])), None);
    }
}
