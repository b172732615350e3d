//! Models on disk and their workers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::worker::ModelKind;

/// One model on disk, or of a backend.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelEntry {
    /// The path below the models directory, or the name in another program's store.
    pub id: String,
    /// Other names of the model.
    pub aliases: Vec<String>,
    /// Modification time of its config.json, seconds since the epoch.
    pub created: u64,
    /// Bytes of its weight files.
    pub bytes: u64,
    /// The properties in its files.
    pub details: Details,
    /// The state of its workers.
    pub state: ModelState,
    /// The maximum of prompt and output together, in tokens, as served: the model's own or the setting's. Once a worker has
    /// loaded the model, the size of the KV cache counts too.
    pub context: Option<u32>,
    /// Its worker processes.
    pub workers: Vec<WorkerEntry>,
    /// Callers that wait for it to load.
    pub waiting: u32,
    /// Whether it is exempt from eviction.
    pub pinned: bool,
    /// The last end of one of its workers.
    pub last_exit: Option<Exit>,
}

/// The properties in a model's files. Only the headers of weight files are read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// Its folder.
    pub folder: PathBuf,
    /// The backend whose program serves it; `None` for a model on disk, which a worker serves.
    pub backend: Option<String>,
    /// `model_type` of config.json, which names the family.
    pub architecture: String,
    /// The task of the model.
    pub kind: ModelKind,
    /// No worker supports its architecture. A request for it is the client's error; `problem` gives the reason.
    pub unserved: bool,
    /// The number of weights, before packing.
    pub parameters: u64,
    /// Such as `bf16` or `4-bit`.
    pub quantization: String,
    /// The maximum of prompt and output together, in tokens, if config.json gives it.
    pub context: Option<u32>,
    /// The supported features.
    pub capabilities: Capabilities,
    /// How a request controls its reasoning.
    pub reasoning_control: ReasoningControl,
    /// Bytes of its weights in a worker's memory. More than on disk if loading unpacks them.
    pub weight_bytes: u64,
    /// Bytes that one token takes in the KV cache.
    pub kv_bytes_per_token: u64,
    /// The reason why it cannot be served, if its files show it.
    pub problem: Option<String>,
    /// The reason why chats fail, if its chat template is invalid. Completions work.
    pub chat_problem: Option<String>,
}

/// How a request controls the reasoning of a model, as its chat template shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ReasoningControl {
    /// Not at all: the model always reasons or never does.
    #[default]
    Fixed,
    /// It turns reasoning on and off.
    Switch,
    /// It sets an effort: low, medium or high.
    Effort,
}

/// The features of a model, as its files show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Capabilities {
    /// It has a chat template.
    pub chat: bool,
    /// Its template writes tools.
    pub tools: bool,
    /// Its template writes reasoning.
    pub reasoning: bool,
    /// It may be sent images.
    pub vision: bool,
    /// It produces vectors and no text.
    pub embeddings: bool,
}

/// The state of a model: the best state of its workers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ModelState {
    /// No process.
    #[default]
    Stopped,
    /// The model waits for memory.
    Queued,
    /// A process is loading the model.
    Loading {
        /// Bytes of weights read so far.
        loaded: u64,
        /// Bytes of weights on disk.
        total: u64,
    },
    /// Requests can be served.
    Ready,
    /// The last requests are ending, and no new ones are accepted.
    Draining,
    /// The last start failed, or the worker keeps crashing, with this reason.
    Failed(String),
}

/// One worker process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerEntry {
    /// Counts worker processes since the supervisor started.
    pub incarnation: u64,
    /// The process id, once the process exists.
    pub pid: Option<u32>,
    /// The state of the process.
    pub state: WorkerState,
    /// Measured memory in bytes; 0 before the first measurement.
    pub footprint: u64,
    /// Bytes granted to it from the budget.
    pub lease: u64,
    /// Requests in generation.
    pub running: u32,
    /// Queued requests.
    pub waiting: u32,
    /// Engine steps since it started.
    pub steps: u64,
    /// Milliseconds since its last request; `None` while it has requests.
    pub idle_ms: Option<u64>,
    /// Milliseconds until it is unloaded, if it stays idle.
    pub expires_ms: Option<u64>,
}

/// The state of one worker process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum WorkerState {
    /// The process has ended or was not started.
    #[default]
    Stopped,
    /// The worker loads the model.
    Starting,
    /// The worker takes requests.
    Ready,
    /// The worker completes its last requests.
    Draining,
    /// The worker has the order to end at once.
    Stopping,
    /// The start failed, or the process ended unexpectedly.
    Failed,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Exit {
    /// Time of the end, seconds since the epoch.
    pub at: u64,
    /// The number of the process.
    pub incarnation: u64,
    /// The status as text, such as "exit status: 1" or "signal: 9 (SIGKILL)". Includes the reason if the supervisor ended it.
    pub status: String,
    /// The exit status, if the process exited.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the supervisor had ordered the end.
    pub expected: bool,
    /// The last lines of its standard error, oldest first.
    pub last_words: Vec<String>,
}
