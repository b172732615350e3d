//! The record of an ended request, for the audit log.

use std::sync::Arc;

use ipc_proto::ErrorKind;
use ipc_proto::generate::Usage;
use opentelemetry::trace::SpanContext;

use super::course::Answerer;
use super::labels::Labels;
use super::routing::Decision;
use super::sender::KeyIdentity;

/// One ended request. Holds no prompt, no output and no key. The labels of its sender come from the request itself.
#[derive(Debug, Clone)]
pub struct Record {
    /// The request's id with a suffix that makes it unique.
    pub id: String,
    /// Milliseconds since the epoch.
    pub started_at_ms: i64,
    /// The path of the request.
    pub endpoint: &'static str,
    /// The model's name as the client gave it.
    pub model: String,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// How the request ended.
    pub outcome: Outcome,
    /// Token counts, as far as known.
    pub usage: Usage,
    /// Milliseconds from the start to the first delta.
    pub first_token_ms: Option<i64>,
    /// Milliseconds from the start to the end.
    pub total_ms: i64,
    /// Requests to servers, retries included.
    pub attempts: u32,
    /// Retries at another worker, after its worker was lost.
    pub recoveries: u32,
    /// The cost at the provider, if its price is known.
    pub cost: Option<Cost>,
    /// The model that answered, or was asked last.
    pub answerer: Answerer,
    /// How the route was chosen, if there are routes for the model's name.
    pub decision: Option<Arc<Decision>>,
    /// The labels of sender and purpose.
    pub labels: Labels,
    /// The key, if it is one of the database.
    pub key: Option<KeyIdentity>,
    /// The client's span. Without one it is not valid, and has the trace of the request alone.
    pub parent: Arc<SpanContext>,
}

#[cfg(test)]
impl Record {
    /// A request that has finished.
    pub(crate) fn example(id: &str, started_at_ms: i64) -> Self {
        Self {
            id: id.into(),
            started_at_ms,
            endpoint: "/v1/completions",
            model: "m".into(),
            streamed: true,
            outcome: Outcome::Finished,
            usage: Usage { prompt_tokens: 3, cached_tokens: 1, completion_tokens: 2, ..Usage::default() },
            first_token_ms: None,
            total_ms: 9,
            attempts: 1,
            recoveries: 0,
            cost: None,
            answerer: Answerer::default(),
            decision: None,
            labels: Labels::default(),
            key: None,
            parent: Arc::new(SpanContext::NONE),
        }
    }
}

/// The cost of a request at a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cost {
    /// Billionths of a US dollar.
    pub nano_usd: u64,
    /// The first day of the price, if it has one.
    pub price_since: Option<String>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The generation completed.
    Finished,
    /// The client got an error.
    Failed(ErrorKind),
    /// The client left first.
    Cancelled,
}

impl Outcome {
    /// The name in the database and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}
