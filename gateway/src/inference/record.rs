//! The record of an ended request, for the audit log.

use ipc_proto::ErrorKind;
use ipc_proto::generate::Usage;

use super::labels::Labels;

/// One ended request. No prompt, no answer, no key; of its sender what it says itself.
#[derive(Debug, Clone)]
pub struct Record {
    /// The request's name, made unique.
    pub id: String,
    /// Milliseconds since the epoch.
    pub started_at_ms: i64,
    /// The path that was called.
    pub endpoint: &'static str,
    /// As the client gave it.
    pub model: String,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// How it ended.
    pub outcome: Outcome,
    /// Token counts, as far as known.
    pub usage: Usage,
    /// From the start to the first text.
    pub first_token_ms: Option<i64>,
    /// From the start to the end.
    pub total_ms: i64,
    /// How often it was given to another worker, because the one it had was lost.
    pub recoveries: u32,
    /// What it says of its sender and purpose.
    pub labels: Labels,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The model came to its end.
    Finished,
    /// An error was told to the client.
    Failed(ErrorKind),
    /// The client left first.
    Cancelled,
}

impl Outcome {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
