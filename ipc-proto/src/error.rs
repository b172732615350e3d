//! The one error that crosses process borders.
//!
//! It says what kind of failure it is, which process it comes from and whether trying again can help. The gateway
//! turns it into the client's own protocol; nobody else knows HTTP.

use serde::{Deserialize, Serialize};

use crate::worker::Room;

/// Short for a result with the shared [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure as it travels between processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What went wrong, as a class that decides the status a client sees.
    pub kind: ErrorKind,
    /// The process (or party) in which it went wrong.
    pub origin: Origin,
    /// Whether the same request can succeed later without being changed.
    pub retryable: bool,
    /// One sentence for a person. Never holds a secret.
    pub message: String,
    /// The request field that is to blame, where there is one.
    pub param: Option<String>,
    /// What a worker has room for, where it refused a request because it has none.
    pub room: Option<Room>,
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The request is wrong in itself.
    InvalidRequest,
    /// The prompt does not fit the model's context.
    ContextLength,
    /// The request body is larger than allowed.
    TooLarge,
    /// A key is missing or wrong.
    Unauthorized,
    /// No model of that name.
    ModelNotFound,
    /// The model's folder is there but cannot be served (missing tensor, unknown architecture, …).
    ModelBroken,
    /// Too much is waiting already.
    Overloaded,
    /// The process that should answer is gone or not there yet.
    Unavailable,
    /// It took longer than allowed.
    Timeout,
    /// The client left or asked to stop.
    Cancelled,
    /// A defect of ours.
    Internal,
}

/// Where a failure comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Origin {
    /// The program that sent the request.
    Client,
    /// The gateway process.
    Gateway,
    /// The supervisor process.
    Supervisor,
    /// A worker process.
    Worker,
    /// A cloud provider.
    Upstream,
}

impl Error {
    /// An error of `kind` from `origin`; retryable where the kind alone says so.
    pub fn new(kind: ErrorKind, origin: Origin, message: impl Into<String>) -> Self {
        let retryable = matches!(kind, ErrorKind::Overloaded | ErrorKind::Unavailable | ErrorKind::Timeout);
        Self { kind, origin, retryable, message: message.into(), param: None, room: None }
    }

    /// The client's request is wrong; `param` names the field.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(ErrorKind::InvalidRequest, Origin::Client, message) }
    }

    /// A worker refuses one more request than the `limit` that it takes.
    pub fn full(limit: u32) -> Self {
        let text =
            format!("{limit} requests run or wait for this model already, as many as it takes at once");
        let room = Some(Room { limit, left: 0 });
        Self { room, ..Self::new(ErrorKind::Overloaded, Origin::Worker, text) }
    }

    /// The same error, naming the field that is to blame.
    #[must_use]
    pub fn with_param(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// The same error, said to be worth another try or not.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }
}
