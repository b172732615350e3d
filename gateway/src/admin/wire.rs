//! What the admin API says: ours, so plain and complete. Bytes and milliseconds are named as such.

use ipc_proto::supervisor::{Exit, Lease};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::protocols::common::body::Body;
use crate::protocols::common::keep_alive::KeepAlive;
use crate::protocols::models::details::{Details, State};

/// An error (RFC 7807).
#[derive(Debug, Serialize, JsonSchema)]
pub struct Problem {
    /// `about:blank`: the status says it all.
    pub r#type: &'static str,
    /// The status in words.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request.
    pub detail: String,
    /// The field that is to blame.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// Whether the same request can succeed later.
    pub retryable: bool,
    /// The request's name.
    pub request_id: String,
}

/// A model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AdminModel")]
pub struct Model {
    /// Its id.
    pub id: String,
    /// Other names that it answers to.
    pub aliases: Vec<String>,
    /// What its workers do.
    #[serde(flatten)]
    pub state: State,
    /// It is not evicted.
    pub pinned: bool,
    /// Callers that wait for it.
    pub waiting: u32,
    /// Bytes of its weight files.
    pub file_bytes: u64,
    /// What its files say.
    pub details: Details,
    /// Its processes.
    pub workers: Vec<Worker>,
    /// How the last of them that ended did.
    pub last_exit: Option<Exit>,
}

/// One worker process.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModelWorker")]
pub struct Worker {
    /// Counts processes since the server started.
    pub incarnation: u64,
    /// Its process id.
    pub pid: Option<u32>,
    /// What it does.
    pub state: &'static str,
    /// Bytes of memory it has.
    pub footprint_bytes: u64,
    /// Bytes it may have.
    pub lease_bytes: u64,
    /// Requests it generates for.
    pub running: u32,
    /// Requests that wait in it.
    pub waiting: u32,
    /// Steps since it started.
    pub steps: u64,
    /// Since when it has nothing to do.
    pub idle_ms: Option<u64>,
    /// When it is unloaded if that stays so.
    pub expires_ms: Option<u64>,
}

/// Every model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AdminModels")]
pub struct Models {
    /// By id.
    pub models: Vec<Model>,
}

/// The memory budget and who has what of it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MemoryPool")]
pub struct Pool {
    /// What workers may have together.
    pub budget_bytes: u64,
    /// What is granted.
    pub leased_bytes: u64,
    /// What workers have.
    pub measured_bytes: u64,
    /// The machine's memory.
    pub physical_bytes: u64,
    /// What the system could give now.
    pub available_bytes: u64,
    /// How the system is doing: normal, warn or critical.
    pub pressure: &'static str,
    /// One for each worker, with what it says of itself.
    pub leases: Vec<Lease>,
    /// Models that wait for memory.
    pub queue: Vec<String>,
    /// Workers evicted since the server started.
    pub evictions: u64,
    /// Ids that settings are there for, but no model.
    pub unknown_models: Vec<String>,
    /// Times that requests were given to another worker since this gateway started.
    pub recoveries: u64,
    /// Requests that were lost too often, since then.
    pub given_up: u64,
}

/// One change, as the event stream tells it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModelChange")]
pub struct Change {
    /// Counts changes.
    pub revision: u64,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// The model's id.
    pub model: String,
    /// What its workers do now.
    #[serde(flatten)]
    pub state: State,
    /// Workers that take requests now.
    pub ready: usize,
    /// Why.
    pub note: String,
}

/// A model's files came, changed or went, as the event stream tells it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModelFiles")]
pub struct Files {
    /// Counts changes.
    pub revision: u64,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// The model's id.
    pub model: String,
    /// Whether it is there now.
    pub there: bool,
}

/// The system's memory gets shorter or longer, as the event stream tells it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MemoryPressure")]
pub struct Pressed {
    /// Counts changes.
    pub revision: u64,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// How it is doing: normal, warn or critical.
    pub pressure: &'static str,
}

/// Body of `load`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "LoadOrder")]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// How long it stays when it falls idle.
    pub keep_alive: Option<KeepAlive>,
}

impl Body for Load {}

/// Body of `unload`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "UnloadOrder")]
#[serde(deny_unknown_fields, default)]
pub struct Unload {
    /// Running requests are cut off.
    pub force: bool,
}

impl Body for Unload {}

/// Body of `restart`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "RestartOrder")]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

impl Body for Nothing {}

/// Body of `pin`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "PinOrder")]
#[serde(deny_unknown_fields, default)]
pub struct Pin {
    /// Whether it is pinned from now on.
    pub pinned: bool,
}

impl Body for Pin {}

impl Default for Pin {
    fn default() -> Self {
        Self { pinned: true }
    }
}
