//! The error type that all processes share.
//!
//! An error holds the kind of failure, its origin, and its disposition for the caller. The gateway translates it into the client's
//! protocol; no other process knows HTTP.

use std::fmt::Display;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::worker::Capacity;

/// A result with the shared [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure as it travels between processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// The class of failure. It determines the HTTP status.
    pub kind: ErrorKind,
    /// The process or party in which it arose.
    pub origin: Origin,
    /// The caller's next step.
    pub disposition: Disposition,
    /// One sentence for people. Holds no secret. It does not begin with the name of a neutral [`Field`]: each protocol puts its own
    /// name in front.
    pub message: String,
    /// The invalid part of the request, if any.
    pub field: Option<Field>,
    /// The capacity of the worker, if it refused the request because it is full.
    pub capacity: Option<Capacity>,
}

/// The classes of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The request is invalid.
    InvalidRequest,
    /// The prompt does not fit the model's context.
    ContextLength,
    /// The request body is larger than allowed.
    TooLarge,
    /// A key is missing or wrong.
    Unauthorized,
    /// The caller has no permission.
    PermissionDenied,
    /// The named thing does not exist.
    NotFound(Resource),
    /// The model exists but cannot be served: a missing tensor, an unknown architecture.
    ModelBroken,
    /// The queue is full.
    Overloaded,
    /// A provider's rate limit for the caller is reached.
    RateLimited,
    /// The process that should answer has ended or not started yet.
    Unavailable,
    /// A provider failed.
    Upstream,
    /// A time limit was reached.
    Timeout,
    /// The client has disconnected or cancelled.
    Cancelled,
    /// A defect of mlxd.
    Internal,
}

/// Things that a request can name and that may not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Resource {
    /// A model, by its id or an alias.
    Model,
    /// A stored response.
    Response,
    /// The response that a request continues.
    PreviousResponse,
    /// The record of an ended request.
    Record,
    /// A provider, by its name in the settings.
    Provider,
    /// A download, by its id.
    Download,
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
    /// The hub process.
    Hub,
    /// A cloud provider.
    Upstream,
}

/// The caller's next step after a failure.
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
    /// The time before a retry; `None` if a retry cannot succeed.
    pub fn retry_after(self) -> Option<Duration> {
        match self {
            Self::Final => None,
            Self::RetryElsewhere => Some(RETRY_AFTER),
            Self::RetryAfter(pause) => Some(pause),
        }
    }
}

/// The default time before a retry. It is a guess.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The invalid part of a request. Each protocol has its own name for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Field {
    /// The name of the model.
    Model,
    /// The messages of a conversation.
    Messages,
    /// A prompt that is no conversation.
    Prompt,
    /// The text after a gap to fill.
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
    /// The number of dimensions of each vector.
    Dimensions,
    /// The name of the model's prompt before each text to embed.
    PromptName,
    /// Output of another worker, to continue.
    Generated,
    /// A field that has exactly this name in the client's request. The message contains the name if necessary.
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

    /// An invalid value of `field` in the client's request.
    pub fn invalid(field: impl Into<Field>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidRequest, Origin::Client, message).with_field(field)
    }

    /// The error of a prompt with `length` tokens, for a context of `max_context`. Agents know by these words that they must
    /// shorten the conversation, and read the two numbers.
    pub fn too_long(field: Field, length: impl Display, max_context: u32) -> Self {
        let text = format!(
            "prompt is too long: {length} tokens > {max_context} maximum. This model's maximum context length is {max_context} \
             tokens, output included"
        );
        Self::new(ErrorKind::ContextLength, Origin::Client, text).with_field(field)
    }

    /// The named thing does not exist.
    pub fn not_found(what: Resource, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound(what), Origin::Client, message)
    }

    /// The refusal of a worker that has fewer free places than `choices`. More choices than its limit are invalid.
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

    /// The same error with `field` as the invalid part.
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

    /// Whether the same request can succeed later.
    pub fn is_retryable(&self) -> bool {
        self.disposition != Disposition::Final
    }
}
