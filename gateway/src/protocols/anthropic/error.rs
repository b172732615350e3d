//! Errors as `{"type": "error", "error": {…}, "request_id": …}`, in bodies and in streams.

use ipc_proto::{Error, ErrorKind, Field, Overflow};
use schemars::JsonSchema;
use serde::Serialize;

use crate::protocols::common::field_names;
use crate::protocols::common::field_names::message;

/// An error body.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessagesError")]
pub struct Body {
    r#type: &'static str,
    error: Inner,
    request_id: String,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessagesErrorDetail")]
struct Inner {
    r#type: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

/// Signals to Anthropic's SDKs that the server stores no conversations. They then send the whole conversation.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MessagesErrorDetails")]
struct Details {
    error_code: &'static str,
    unsupported: [&'static str; 1],
}

impl Body {
    /// Builds the body of `error` for a response with `status`.
    pub fn new(error: &Error, status: u16, request_id: &str) -> Self {
        let r#type = match status {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            503 | 529 => "overloaded_error",
            504 => "timeout_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        };
        let message = message(error, field_names::messages);
        let message = match error.kind {
            // By these words clients know that they must shorten the conversation. Claude Code also reads both numbers.
            ErrorKind::ContextLength => match error.overflow {
                Some(Overflow { prompt, limit }) => {
                    format!("prompt is too long: {prompt} tokens > {limit} maximum")
                }
                None => format!("prompt is too long: {message}"),
            },
            _ => message,
        };
        let is_thread = matches!(&error.field, Some(Field::Named(name)) if name == "thread");
        let details = is_thread
            .then_some(Details { error_code: "thread_unsupported_request", unsupported: ["thread"] });
        Self { r#type: "error", error: Inner { r#type, message, details }, request_id: request_id.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::Origin;

    use super::*;

    #[test]
    fn overflow_is_worded_as_anthropics_clients_expect() {
        let overflow = Some(Overflow { prompt: 300, limit: 255 });
        let error = Error::new(ErrorKind::ContextLength, Origin::Client, "the prompt has 300 tokens");
        let body = serde_json::to_value(Body::new(&Error { overflow, ..error }, 400, "req_1")).unwrap();
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert_eq!(body["error"]["message"], "prompt is too long: 300 tokens > 255 maximum");
    }
}
