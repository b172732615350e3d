//! Errors as `{"error": {…}}`. SDKs recognize only this nesting, in bodies and in streams.

use ipc_proto::{Error, ErrorKind, Resource};
use schemars::JsonSchema;
use serde::Serialize;

use crate::protocols::common::field_names::{FieldNames, message, param};

/// An error body.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Error")]
pub struct Body {
    error: Inner,
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ErrorDetail")]
struct Inner {
    message: String,
    r#type: &'static str,
    param: Option<String>,
    code: Option<&'static str>,
}

impl Body {
    /// Builds the body of `error`, with the field names of one protocol.
    pub fn new(error: &Error, names: FieldNames) -> Self {
        let (r#type, code) = match error.kind {
            ErrorKind::InvalidRequest => ("invalid_request_error", None),
            ErrorKind::ContextLength => ("invalid_request_error", Some("context_length_exceeded")),
            ErrorKind::TooLarge => ("invalid_request_error", Some("request_too_large")),
            ErrorKind::Unauthorized => ("authentication_error", Some("invalid_api_key")),
            ErrorKind::PermissionDenied => ("invalid_request_error", Some("permission_denied")),
            ErrorKind::NotFound(Resource::Model) => ("invalid_request_error", Some("model_not_found")),
            ErrorKind::NotFound(Resource::Response) => ("invalid_request_error", Some("response_not_found")),
            ErrorKind::NotFound(Resource::PreviousResponse) => {
                ("invalid_request_error", Some("previous_response_not_found"))
            }
            ErrorKind::NotFound(Resource::Provider) => ("invalid_request_error", Some("provider_not_found")),
            ErrorKind::NotFound(Resource::Download) => ("invalid_request_error", Some("download_not_found")),
            ErrorKind::NotFound(Resource::Record) => ("invalid_request_error", Some("record_not_found")),
            ErrorKind::ModelBroken => ("server_error", Some("model_broken")),
            ErrorKind::Overloaded => ("rate_limit_error", Some("overloaded")),
            ErrorKind::RateLimited => ("rate_limit_error", Some("rate_limit_exceeded")),
            ErrorKind::Upstream => ("server_error", Some("upstream_error")),
            ErrorKind::Unavailable | ErrorKind::Cancelled => ("server_error", Some("unavailable")),
            ErrorKind::Timeout => ("server_error", Some("timeout")),
            ErrorKind::Internal => ("server_error", None),
        };
        Self { error: Inner { message: message(error, names), r#type, param: param(error, names), code } }
    }
}
