//! State and details of a model, which model lists and the admin API show alike.

use ipc_proto::supervisor::{self, Capabilities, ModelState};
use ipc_proto::worker::ModelKind;
use schemars::JsonSchema;
use serde::Serialize;

/// What a model's workers do, in one word and what belongs to it.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ModelState")]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// No process.
    Stopped,
    /// It waits for memory.
    Queued,
    /// It loads.
    Loading {
        /// So far.
        loaded_bytes: u64,
        /// In all.
        total_bytes: u64,
    },
    /// It serves.
    Ready,
    /// It ends its last requests.
    Draining,
    /// It does not run, and cannot.
    Failed {
        /// Why.
        reason: String,
    },
}

/// What a model's files say.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "ModelDetails")]
pub struct Details {
    /// `model_type` of config.json.
    pub architecture: String,
    /// What it does: text, embeddings or rerank.
    pub modality: &'static str,
    /// Whether there is code for its architecture.
    pub supported: bool,
    /// Weights, counted before packing.
    pub parameters: u64,
    /// Such as `bf16` or `4-bit`.
    pub quantization: String,
    /// Prompt and output together, in tokens.
    pub context: Option<u32>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Bytes of its weights in memory.
    pub weight_bytes: u64,
    /// Bytes that a token takes in the KV cache.
    pub kv_bytes_per_token: u64,
    /// Why it cannot be served, where its files say that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Why chats fail while completions work: the chat template is not valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chat_problem: Option<String>,
}

/// The state of a model's workers.
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

/// The details without the folder: clients need not know the server's paths.
pub fn details(details: supervisor::Details) -> Details {
    Details {
        architecture: details.architecture,
        modality: match details.kind {
            ModelKind::Generate => "text",
            ModelKind::Embed => "embeddings",
            ModelKind::Rerank => "rerank",
        },
        supported: !details.unserved,
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
