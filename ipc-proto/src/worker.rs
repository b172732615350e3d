//! What a worker process answers on its control connection (gateway and supervisor call it).

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use crate::generate::{ChoiceId, Prompt, Submission};
use crate::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use crate::stream::StreamId;

/// One loaded model's control interface. All calls are short but `wait_ready`.
#[tarpc::service]
pub trait Worker {
    /// Returns once the model is loaded, or with the reason why it cannot be.
    async fn wait_ready() -> Result<ModelInfo>;

    /// How far loading is.
    async fn progress() -> Progress;

    /// Renders and tokenises a prompt and queues its choices, whose events go to `stream`. An error means that none was queued
    /// and no event will come.
    async fn submit(stream: StreamId, submission: Submission) -> Result<Accepted>;

    /// Tokens that `prompt` would have, rendered; nothing is queued.
    async fn count_tokens(prompt: Prompt) -> Result<u32>;

    /// The prompt as the model would read it; nothing is queued.
    async fn render(prompt: Prompt) -> Result<RenderedPrompt>;

    /// The token ids of a text or prompt.
    async fn tokenize(request: TokenizeRequest) -> Result<Tokenized>;

    /// The text of token ids, special tokens included.
    async fn detokenize(tokens: Vec<u32>) -> Result<String>;

    /// Turns texts into vectors; only a model of [`ModelKind::Embed`] does. Dropping the call drops what is left of the work.
    async fn embed(request: EmbedRequest) -> Result<Embeddings>;

    /// Says how relevant documents are to a query; only a model of [`ModelKind::Rerank`] does. Dropping the call drops what
    /// is left of the work.
    async fn rerank(request: RerankRequest) -> Result<Scores>;

    /// Drops a choice; an unknown one is ignored. No further event comes for it.
    async fn cancel(stream: StreamId, id: ChoiceId);

    /// What the worker is doing right now.
    async fn health() -> Health;

    /// Sets to what the KV cache may grow, in bytes, between a few blocks and what the worker was started with; returns what
    /// is in force. Blocks beyond it are given back as soon as nothing runs in them, and requests that run keep the room that
    /// they were promised; new ones must fit the new limit.
    async fn resize_kv(bytes: u64) -> Result<u64>;

    /// Gives back what only caches hold: text of ended requests, KV blocks, freed buffers. Returns what is left.
    async fn trim() -> Result<Memory>;
}

/// How far loading is, in bytes of weights on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Read so far.
    pub loaded: u64,
    /// To be read in all; 0 as long as that is not known.
    pub total: u64,
}

/// A model as its worker loaded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `model_type` of config.json.
    pub architecture: String,
    /// What it does.
    pub kind: ModelKind,
    /// Prompt and output together, in tokens, as far as model and KV pool allow.
    pub max_context: u32,
    /// Whether the model has a chat template.
    pub has_chat_template: bool,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
}

/// What a model does. A request for something else is the client's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ModelKind {
    /// It generates text.
    #[default]
    Generate,
    /// It turns texts into vectors.
    Embed,
    /// It says how relevant documents are to a query.
    Rerank,
}

/// The answer to an accepted [`Submission`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accepted {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// The remaining capacity, with this submission counted.
    pub capacity: Capacity,
}

/// The number of requests that a worker takes, at the moment of its answer. Each choice counts as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Capacity {
    /// The maximum number of requests, running and waiting together.
    pub limit: u32,
    /// The number of further requests that it would take.
    pub free: u32,
}

/// A worker's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
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
    /// The prefix cache since start.
    pub prefix: PrefixStatistics,
    /// Tokens guessed ahead since start.
    pub drafts: DraftStatistics,
    /// Memory now.
    pub memory: Memory,
}

/// What the prefix cache did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct PrefixStatistics {
    /// Full blocks of prompts that were found.
    pub hits: u64,
    /// Full blocks of prompts that were not.
    pub misses: u64,
    /// Of these, blocks that had been there and were given up for room.
    pub misses_after_eviction: u64,
    /// Blocks given up for room.
    pub evictions: u64,
    /// Of the last prompt that was not found whole: its first block that was not, counted from 0.
    pub last_miss_at: u64,
}

/// What became of tokens that were guessed ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct DraftStatistics {
    /// Guessed tokens that the model looked at.
    pub proposed: u64,
    /// Of these, tokens that it would have chosen too.
    pub accepted: u64,
}

/// Where a worker's memory goes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Memory {
    /// Weights.
    pub weights: u64,
    /// KV blocks that hold text of running requests.
    pub kv_used: u64,
    /// KV blocks that exist, of which the rest is free or kept for the prefix cache.
    pub kv_allocated: u64,
    /// KV blocks that may exist.
    pub kv_limit: u64,
    /// What the device holds in all.
    pub active: u64,
    /// Freed buffers that the device keeps for reuse.
    pub cached: u64,
    /// The most it has held.
    pub peak: u64,
}
