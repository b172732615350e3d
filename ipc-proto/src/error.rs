//! The one error that crosses process borders.
//!
//! It names the kind of failure, the process in which it arose, and what a caller can do about it. The gateway translates it
//! into the client's own protocol; no other process knows HTTP.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::worker::Capacity;

/// A result with the shared [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure as it travels between processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The class of failure; it decides the status that a client sees.
    pub kind: ErrorKind,
    /// The process or party in which it arose.
    pub origin: Origin,
    /// What a caller can do about it.
    pub disposition: Disposition,
    /// One sentence for a person. Never holds a secret. It does not begin with the name of a neutral [`Field`]: each
    /// protocol puts its own name in front.
    pub message: String,
    /// The part of the request that is to blame, if any.
    pub field: Option<Field>,
    /// The capacity of the worker that refused the request for lack of it.
    pub capacity: Option<Capacity>,
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
    /// The caller is known, but may not do this.
    PermissionDenied,
    /// The named thing does not exist.
    NotFound(Resource),
    /// The model's folder is there but cannot be served: a missing tensor, an unknown architecture.
    ModelBroken,
    /// Too many requests wait already.
    Overloaded,
    /// A provider counts the caller's requests or tokens, and refuses more of them for now.
    RateLimited,
    /// The process that should answer is gone or not there yet.
    Unavailable,
    /// A provider failed.
    Upstream,
    /// It took longer than allowed.
    Timeout,
    /// The client left or asked to stop.
    Cancelled,
    /// A defect of ours.
    Internal,
}

/// Things that a request can name and that may not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Resource {
    /// A model, by its id or an alias.
    Model,
    /// A stored response.
    Response,
}

/// The process or party in which a failure arose.
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

/// What a caller can do about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Disposition {
    /// Nothing: the same request would fail again.
    Final,
    /// Another worker or provider may take the request at once.
    RetryElsewhere,
    /// The same request may succeed after this time.
    RetryAfter(Duration),
}

impl Disposition {
    /// How long a client should wait before it tries again, if trying again can help.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Final => None,
            Self::RetryElsewhere => Some(RETRY_AFTER),
            Self::RetryAfter(pause) => Some(pause),
        }
    }
}

/// The pause before another try where the failure suggests none. It is a guess.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The part of a request that is to blame for a failure. Each protocol has its own name for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Field {
    /// The name of the model.
    Model,
    /// The messages of a conversation.
    Messages,
    /// A prompt that is no conversation.
    Prompt,
    /// The text after a gap that the model fills.
    Suffix,
    /// The functions that the model may call.
    Tools,
    /// Whether and which functions the model calls.
    ToolChoice,
    /// The form that the output must have.
    OutputFormat,
    /// The number of choices.
    Choices,
    /// Token ids that end the generation.
    StopTokens,
    /// Additions to the logits of tokens.
    LogitBias,
    /// Token ids to turn into text.
    Tokens,
    /// One of the texts to embed, by its index.
    Input(u32),
    /// All texts to embed.
    Inputs,
    /// One of the documents to rank, by its index.
    Document(u32),
    /// The numbers that each vector shall have.
    Dimensions,
    /// The model's own prompt that goes before each text to embed.
    PromptName,
    /// Output of another worker, from which this one shall continue.
    Generated,
    /// A field that the sender of the request knows by exactly this name; the message holds it where needed.
    Named(String),
}

impl From<&str> for Field {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<&String> for Field {
    fn from(name: &String) -> Self {
        Self::Named(name.clone())
    }
}

impl From<String> for Field {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

impl Error {
    /// An error of `kind` from `origin`, with the disposition that its kind suggests.
    pub fn new(kind: ErrorKind, origin: Origin, message: impl Into<String>) -> Self {
        let disposition = match kind {
            ErrorKind::Unavailable => Disposition::RetryElsewhere,
            ErrorKind::Overloaded | ErrorKind::RateLimited | ErrorKind::Upstream | ErrorKind::Timeout => {
                Disposition::RetryAfter(RETRY_AFTER)
            }
            _ => Disposition::Final,
        };
        Self { kind, origin, disposition, message: message.into(), field: None, capacity: None }
    }

    /// The client's request is wrong in `field`.
    pub fn invalid(field: impl Into<Field>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, Origin::Client, message).with_field(field)
    }

    /// The named thing does not exist.
    pub fn not_found(what: Resource, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound(what), Origin::Client, message)
    }

    /// A worker refuses more choices than its capacity has left. More than the whole capacity never fit.
    pub fn full(capacity: Capacity, choices: u32) -> Self {
        let Capacity { limit, free } = capacity;
        if choices > limit {
            let text = format!("the request has {choices} choices; this model takes {limit} at once");
            return Self::invalid(Field::Choices, text);
        }
        let text = match free {
            0 => format!("{limit} requests run or wait for this model already, as many as it takes at once"),
            _ => format!("the request has {choices} choices, and the model takes {free} more for now"),
        };
        Self { capacity: Some(capacity), ..Self::new(ErrorKind::Overloaded, Origin::Worker, text) }
    }

    /// The same error, blamed on `field`.
    #[must_use]
    pub fn with_field(mut self, field: impl Into<Field>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The same error with another disposition.
    #[must_use]
    pub fn with_disposition(mut self, disposition: Disposition) -> Self {
        self.disposition = disposition;
        self
    }

    /// Whether the same request can succeed later without being changed.
    pub fn is_retryable(&self) -> bool {
        self.disposition != Disposition::Final
    }
}
