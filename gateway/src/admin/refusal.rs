//! Refused changes of providers and routes, as HTTP responses.

use std::fmt;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ipc_proto::{Error, ErrorKind, Origin};

use crate::protocols::error::{ApiError, unroutable};
use crate::store::routing_store::RoutingError;

/// Why an order is refused.
#[derive(Debug)]
pub enum Refusal {
    /// An error with a status of its own.
    Plain(Error),
    /// It does not fit the present providers or routes.
    State(StatusCode, String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Plain(error)
    }
}

impl From<RoutingError> for Refusal {
    fn from(error: RoutingError) -> Self {
        let text = error.to_string();
        let plain = |kind| Self::Plain(Error::new(kind, Origin::Gateway, error.to_string()));
        match &error {
            RoutingError::Db(cause) if cause.is_temporary() => plain(ErrorKind::Unavailable),
            RoutingError::Db(_) | RoutingError::Keyring(_) => plain(ErrorKind::Internal),
            RoutingError::Missing(_) => Self::State(StatusCode::NOT_FOUND, text),
            RoutingError::Conflict(_) => Self::State(StatusCode::CONFLICT, text),
            RoutingError::Stale(_) => Self::State(StatusCode::PRECONDITION_FAILED, text),
            RoutingError::Invalid { field, .. } => Self::Plain(Error::invalid(field, text)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(error) => error.fmt(to),
            Self::State(_, text) => to.write_str(text),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Plain(error) => ApiError(error).into_response(),
            Self::State(status, text) => unroutable(status, text),
        }
    }
}
