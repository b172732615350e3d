//! Models on disk and their workers, as they are told of.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::worker::ModelKind;

/// One model on disk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelEntry {
    /// Its path below the models directory that holds it, or its name in another program's store.
    pub id: String,
    /// Other names that it answers to.
    pub aliases: Vec<String>,
    /// Modification time of its config.json, seconds since the epoch.
    pub created: u64,
    /// Bytes of its weight files.
    pub bytes: u64,
    /// What its files say.
    pub details: Details,
    /// What its workers are doing, in one word.
    pub state: ModelState,
    /// Its processes.
    pub workers: Vec<WorkerEntry>,
    /// Callers that wait for it to be ready.
    pub waiting: u32,
    /// It is not evicted.
    pub pinned: bool,
    /// How the last of its processes that ended did.
    pub last_exit: Option<Exit>,
}

/// What a model's files say; only headers were read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// Its folder.
    pub folder: PathBuf,
    /// `model_type` of config.json, which names the family.
    pub architecture: String,
    /// What it does.
    pub kind: ModelKind,
    /// No worker has code for its architecture: a request for it is the client's error, and `problem` says more.
    pub unserved: bool,
    /// Weights, counted before packing.
    pub parameters: u64,
    /// Such as `bf16` or `4-bit`.
    pub quantization: String,
    /// Prompt and output together, in tokens, where config.json says.
    pub context: Option<u32>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Bytes of its weights in a worker's memory: more than on disk where they are unpacked at load.
    pub weight_bytes: u64,
    /// Bytes that one token takes in the KV cache.
    pub kv_bytes_per_token: u64,
    /// Why it cannot be served, where its files already say that.
    pub problem: Option<String>,
    /// Why chats fail, where its chat template is not valid. Completions work.
    pub chat_problem: Option<String>,
}

/// What a model can do, as far as its files tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Capabilities {
    /// It has a chat template.
    pub chat: bool,
    /// Its template writes tools.
    pub tools: bool,
    /// Its template writes thoughts.
    pub reasoning: bool,
    /// It has weights that see images.
    pub vision: bool,
    /// It makes vectors, not text.
    pub embeddings: bool,
}

/// What a model's workers are doing, in one word: the best of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum ModelState {
    /// No process.
    #[default]
    Stopped,
    /// It waits for memory.
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
    /// Its last requests are ending; no more are taken.
    Draining,
    /// The last start failed, or it ends again and again; for this reason.
    Failed(String),
}

/// One worker process.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WorkerEntry {
    /// Counts worker processes since the supervisor started.
    pub incarnation: u64,
    /// Its process id, once it has one.
    pub pid: Option<u32>,
    /// What it is doing.
    pub state: WorkerState,
    /// Bytes of memory that it has, as measured; 0 before the first measurement.
    pub footprint: u64,
    /// Bytes of the budget that it has.
    pub lease: u64,
    /// Requests that it generates for.
    pub running: u32,
    /// Requests that wait in it.
    pub waiting: u32,
    /// Its engine's steps since it started.
    pub steps: u64,
    /// Since when it has nothing to do, in milliseconds; `None` while it has.
    pub idle_ms: Option<u64>,
    /// When it is unloaded if it stays idle: milliseconds from now.
    pub expires_ms: Option<u64>,
}

/// What one worker process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum WorkerState {
    /// It has ended, or not begun.
    #[default]
    Stopped,
    /// It loads.
    Starting,
    /// It serves.
    Ready,
    /// It ends its last requests.
    Draining,
    /// It was told to end at once.
    Stopping,
    /// Its start failed, or it ended unasked.
    Failed,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Exit {
    /// When, seconds since the epoch.
    pub at: u64,
    /// Which process it was.
    pub incarnation: u64,
    /// In words: "exit status: 1", "signal: 9 (SIGKILL)", with the reason where we ended it.
    pub status: String,
    /// Its exit status, if it ended by itself.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was told to end.
    pub expected: bool,
    /// The last lines of its standard error, oldest first.
    pub last_words: Vec<String>,
}
