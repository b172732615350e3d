//! The state and details of a model in model lists and the admin API.

use ipc_proto::supervisor::{self, Capabilities, ModelState};
use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::Serialize;

/// The state of a model's workers.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ModelState")]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// No worker process runs.
    Stopped,
    /// The model waits for memory.
    Queued,
    /// The workers load the model.
    Loading {
        /// Bytes of the weights loaded so far.
        loaded_bytes: u64,
        /// Bytes of all weights.
        total_bytes: u64,
    },
    /// The workers serve requests.
    Ready,
    /// The workers finish their last requests.
    Draining,
    /// The workers cannot run.
    Failed {
        /// One sentence.
        reason: String,
    },
}

/// The contents of a model's files.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ModelDetails")]
pub struct Details {
    /// The backend of `config.toml` whose program serves it. Without one, a worker does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// `model_type` of config.json.
    pub architecture: String,
    /// `text`, `embeddings` or `rerank`.
    pub modality: &'static str,
    /// Whether this server can serve it, as far as its files show. `problem` has the reason why not.
    pub supported: bool,
    /// The number of weights before packing.
    pub parameters: u64,
    /// For example `bf16` or `4-bit`.
    pub quantization: String,
    /// The maximum of prompt and output together, in tokens.
    pub context: Option<u32>,
    /// The features that the model supports.
    pub capabilities: Capabilities,
    /// Bytes of the weights in memory.
    pub weight_bytes: u64,
    /// Bytes of one token in the KV cache.
    pub kv_bytes_per_token: u64,
    /// The reason why the model cannot be served, if its files have a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Why chats without tools fail while completions work: their template is invalid or missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_problem: Option<String>,
}

/// Converts the state of a model's workers.
pub fn state(state: ModelState) -> State {
    match state {
        ModelState::Stopped => State::Stopped,
        ModelState::Queued => State::Queued,
        ModelState::Loading { loaded, total } => State::Loading { loaded_bytes: loaded, total_bytes: total },
        ModelState::Ready => State::Ready,
        ModelState::Draining => State::Draining,
        ModelState::Failed(reason) => State::Failed { reason },
    }
}

/// Converts the details without the folder, because clients do not need the server's paths.
pub fn details(details: supervisor::Details) -> Details {
    Details {
        backend: details.backend,
        architecture: details.architecture,
        modality: match details.kind {
            ModelKind::Generate => "text",
            ModelKind::Embed => "embeddings",
            ModelKind::Rerank => "rerank",
        },
        supported: !details.unserved && details.problem.is_none(),
        parameters: details.parameters,
        quantization: details.quantization,
        context: details.context,
        capabilities: details.capabilities,
        weight_bytes: details.weight_bytes,
        kv_bytes_per_token: details.kv_bytes_per_token,
        problem: details.problem,
        chat_problem: details.chat_problem,
    }
}
