//! The service of a worker on its control connection, for the gateway and the supervisor.

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use crate::generate::{ChoiceId, Prompt, Submission};
use crate::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use crate::stream::StreamId;

mod token_bound;

pub use token_bound::TokenBound;

/// The control interface of one loaded model. All calls but `wait_ready` are short.
#[tarpc::service]
pub trait Worker {
    /// Waits until the model is loaded. Fails with the reason if it cannot be loaded.
    async fn wait_ready() -> Result<ModelInfo>;

    /// The loading progress.
    async fn progress() -> LoadProgress;

    /// Renders and tokenises a prompt and queues its choices. Their events go to `stream`. After an error nothing is queued, and no
    /// event follows.
    ///
    /// Boxed: the client's future holds several copies of its request.
    async fn submit(stream: StreamId, submission: Box<Submission>) -> Result<Accepted>;

    /// The number of tokens of the rendered `prompt`. Queues nothing.
    async fn count_tokens(prompt: Prompt) -> Result<u32>;

    /// The prompt as the model would receive it. Queues nothing.
    async fn render(prompt: Prompt) -> Result<RenderedPrompt>;

    /// The token ids of a text or prompt.
    async fn tokenize(request: TokenizeRequest) -> Result<Tokenized>;

    /// The text of token ids, special tokens included.
    async fn detokenize(tokens: Vec<u32>) -> Result<String>;

    /// Embeds texts, with a model of [`ModelKind::Embed`] only. Dropping the call cancels the rest of the work.
    async fn embed(request: EmbedRequest) -> Result<Embeddings>;

    /// Scores documents for a query, with a model of [`ModelKind::Rerank`] only. Dropping the call cancels the rest of the work.
    async fn rerank(request: RerankRequest) -> Result<Scores>;

    /// Cancels a choice, which gets no further event. Ignores an unknown one.
    async fn cancel(stream: StreamId, id: ChoiceId);

    /// The current counters.
    async fn health() -> Health;

    /// Sets the limit of the KV cache in bytes, between a few blocks and the worker's initial limit. Returns the effective limit.
    /// Blocks above it are freed as soon as no request uses them. Running requests keep their reserved blocks; new ones must fit the
    /// new limit.
    async fn resize_kv(bytes: u64) -> Result<u64>;

    /// Frees all memory that only caches hold: text of ended requests, KV blocks, freed buffers. Returns the rest.
    async fn trim() -> Result<Memory>;
}

/// The loading progress, in bytes of weights on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LoadProgress {
    /// Bytes read so far.
    pub loaded: u64,
    /// Bytes in total; 0 while unknown.
    pub total: u64,
}

/// A loaded model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelInfo {
    /// `model_type` of config.json.
    pub architecture: String,
    /// The task of the model.
    pub kind: ModelKind,
    /// The maximum of prompt and output together, in tokens, for the model and its KV pool.
    pub max_context: u32,
    /// Whether the model has a chat template.
    pub has_chat_template: bool,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// The longest text of one token. `None` if its tokenizer may leave out parts of a text.
    pub token_bound: Option<TokenBound>,
    /// Whether the prompt of a chat has all of its last user turn, except white space.
    pub keeps_user_turns: bool,
}

/// The task of a model. A request for another task is the client's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum ModelKind {
    /// It generates text.
    #[default]
    Generate,
    /// It embeds texts.
    Embed,
    /// It scores documents for a query.
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
    /// The number of further requests that the worker would take.
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
    /// KV blocks in total.
    pub kv_blocks_total: u32,
    /// The maximum of prompt and output together, in tokens, under the present limit of the KV cache; 0 while unknown.
    pub max_context: u32,
    /// The prefix cache since start.
    pub prefix: PrefixStatistics,
    /// Speculative decoding since start.
    pub drafts: DraftStatistics,
    /// Memory now.
    pub memory: Memory,
}

/// Counters of the prefix cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct PrefixStatistics {
    /// Full prompt blocks found in the cache.
    pub hits: u64,
    /// Full prompt blocks not found.
    pub misses: u64,
    /// Of these, blocks that had been evicted.
    pub misses_after_eviction: u64,
    /// Evicted blocks.
    pub evictions: u64,
    /// The index of the first missing block, for the last prompt with one. Counted from 0.
    pub last_miss_at: u64,
}

/// Counters of speculative decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct DraftStatistics {
    /// Draft tokens that the model has verified.
    pub proposed: u64,
    /// Of these, accepted tokens.
    pub accepted: u64,
}

/// A worker's memory by purpose, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Memory {
    /// Weights.
    pub weights: u64,
    /// KV blocks of running requests.
    pub kv_used: u64,
    /// Allocated KV blocks. The rest of them is free or belongs to the prefix cache.
    pub kv_allocated: u64,
    /// The limit for KV blocks.
    pub kv_limit: u64,
    /// All active memory of the device.
    pub active: u64,
    /// Freed buffers that the allocator keeps for reuse.
    pub cached: u64,
    /// The peak of active memory.
    pub peak: u64,
}
