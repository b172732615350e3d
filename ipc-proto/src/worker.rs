//! What a worker process answers on its control connection (gateway and supervisor call it).

use serde::{Deserialize, Serialize};

use crate::generate::{GenerateRequest, RequestId};
use crate::stream::StreamId;
use crate::{Error, Result};

/// One loaded model's control interface. All calls are short but `wait_ready`.
#[tarpc::service]
pub trait Worker {
    /// Returns once the model is loaded, or with the reason why it cannot be.
    async fn wait_ready() -> Result<ModelInfo>;

    /// Renders, tokenises and queues a request whose events go to `stream`. An error means that nothing was queued
    /// and no event will come.
    async fn submit(stream: StreamId, request: GenerateRequest) -> std::result::Result<Accepted, Error>;

    /// Drops a request; unknown ones are ignored. No further event comes for it.
    async fn cancel(stream: StreamId, id: RequestId);

    /// What the worker is doing right now.
    async fn health() -> Health;
}

/// A model as its worker loaded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `model_type` of config.json.
    pub architecture: String,
    /// Prompt and output together, in tokens, as far as model and KV pool allow.
    pub max_context: u32,
    /// Whether the model has a chat template.
    pub has_chat_template: bool,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
}

/// A request was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
}

/// A worker's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Health {
    /// Engine steps since start.
    pub steps: u64,
    /// Requests being generated.
    pub running: u32,
    /// Requests queued.
    pub waiting: u32,
    /// KV blocks in use.
    pub kv_blocks_used: u32,
    /// KV blocks in all.
    pub kv_blocks_total: u32,
}
