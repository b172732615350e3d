//! Errors as `{"type": "error", "error": {…}, "request_id": …}`, in bodies and in streams.

use ipc_proto::{Error, Field};
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
        let is_thread = matches!(&error.field, Some(Field::Named(name)) if name == "thread");
        let details = is_thread
            .then_some(Details { error_code: "thread_unsupported_request", unsupported: ["thread"] });
        Self { r#type: "error", error: Inner { r#type, message, details }, request_id: request_id.to_owned() }
    }
}
