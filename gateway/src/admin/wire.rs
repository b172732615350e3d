//! The JSON types of the admin API. Field names end with their unit. Doc comments become descriptions in the OpenAPI document.
#![expect(missing_docs, reason = "some fields are self-evident")]

use std::collections::BTreeMap;

use ipc_proto::supervisor::{Exit, Lease, ModelSettings};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::requests::export::Format;
use crate::inference::content::StoredContent;
use crate::inference::routing::Step;
use crate::protocols::common::body::Body;
use crate::protocols::common::keep_alive::KeepAlive;
use crate::protocols::models::details::{Details, State};
use crate::store::requests::RequestRow;

/// An error (RFC 7807).
#[derive(Debug, Serialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`: the status identifies the kind of error.
    pub r#type: &'static str,
    /// The reason phrase of the status.
    pub title: &'static str,
    pub status: u16,
    /// The cause of this error.
    pub detail: String,
    /// The invalid field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub param: Option<String>,
    /// Whether the same request can succeed later.
    pub retryable: bool,
    /// The `x-request-id` of the response.
    pub request_id: String,
}

/// A model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AdminModel")]
pub struct Model {
    pub id: String,
    /// Other names of the model.
    pub aliases: Vec<String>,
    /// The state of its workers.
    #[serde(flatten)]
    pub state: State,
    /// Whether it is exempt from eviction.
    pub pinned: bool,
    /// Requests that wait for it to load.
    pub waiting: u32,
    /// The size of its weight files.
    pub file_bytes: u64,
    /// The properties in its files.
    pub details: Details,
    /// Its worker processes.
    pub workers: Vec<Worker>,
    /// The last end of one of its workers.
    pub last_exit: Option<Exit>,
}

/// One worker process.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModelWorker")]
pub struct Worker {
    /// The number of the process, counted since the server started.
    pub incarnation: u64,
    pub pid: Option<u32>,
    pub state: &'static str,
    /// Measured memory.
    pub footprint_bytes: u64,
    /// Memory granted to it.
    pub lease_bytes: u64,
    /// Requests in generation.
    pub running: u32,
    /// Queued requests.
    pub waiting: u32,
    /// Engine steps since it started.
    pub steps: u64,
    /// Milliseconds since its last request; null while it has requests.
    pub idle_ms: Option<u64>,
    /// Milliseconds until it is unloaded, if it stays idle.
    pub expires_ms: Option<u64>,
}

/// Every model.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AdminModels")]
pub struct Models {
    /// Sorted by id.
    pub models: Vec<Model>,
}

/// A model's settings after a change.
#[derive(Debug, Serialize, JsonSchema)]
pub struct EffectiveSettings {
    /// The settings.
    #[serde(flatten)]
    pub settings: ModelSettings,
    /// The changed settings of a running model that count from the next start of a worker. Restart the model for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub restart_needed: Vec<&'static str>,
}

/// The memory budget and its leases.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MemoryPool")]
pub struct Pool {
    /// The limit for all workers together.
    pub budget_bytes: u64,
    /// Memory granted to workers.
    pub leased_bytes: u64,
    /// Measured memory of all workers.
    pub measured_bytes: u64,
    /// The machine's memory.
    pub physical_bytes: u64,
    /// Memory that the system has available.
    pub available_bytes: u64,
    /// The system's memory pressure: normal, warn or critical.
    pub pressure: &'static str,
    /// One lease for each worker, with the health that it has reported.
    pub leases: Vec<Lease>,
    /// Models that wait for memory.
    pub queue: Vec<String>,
    /// Workers evicted since the server started.
    pub evictions: u64,
    /// Ids with settings and without a model.
    pub unknown_models: Vec<String>,
    /// A sentence for each model that is not served, because another folder has one of the same id.
    pub hidden_models: Vec<String>,
    /// Retries at another worker since this gateway started.
    pub recoveries: u64,
    /// Requests that have used up their retries since this gateway started.
    pub given_up: u64,
}

/// A change of a model's workers, in the event stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModelChange")]
pub struct Change {
    /// The number of the change.
    pub revision: u64,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// The model's id.
    pub model: String,
    /// The new state of its workers.
    #[serde(flatten)]
    pub state: State,
    /// The number of workers that take requests.
    pub ready: usize,
    /// The reason of the change.
    pub note: String,
}

/// A change of a model's files, in the event stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "ModelFiles")]
pub struct FilesChange {
    /// The number of the change.
    pub revision: u64,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// The model's id.
    pub model: String,
    /// Whether the model exists now.
    pub there: bool,
}

/// A change of the system's memory pressure, in the event stream.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MemoryPressure")]
pub struct PressureChange {
    /// The number of the change.
    pub revision: u64,
    /// Milliseconds since the epoch.
    pub at_ms: u64,
    /// normal, warn or critical.
    pub pressure: &'static str,
}

/// The query of the request log.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestQuery {
    /// The model's name as the client gave it, or its id at the backend.
    pub model: Option<String>,
    /// `local` or the name of a provider.
    pub backend: Option<String>,
    /// `finished`, `failed` or `cancelled`.
    pub status: Option<String>,
    /// The id or the name of the sender's API key.
    pub key: Option<String>,
    /// The earliest start, as in RFC 3339.
    pub since: Option<String>,
    /// The `next` of an earlier page.
    pub after: Option<String>,
    /// The rows of a page.
    pub limit: Option<u32>,
}

/// The query of an export of the request log.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportQuery {
    /// The form of the file.
    #[serde(default)]
    pub format: Format,
    /// Whether stored prompts and outputs are in it.
    #[serde(default)]
    pub content: bool,
    /// The model's name as the client gave it, or its id at the backend.
    pub model: Option<String>,
    /// `local` or the name of a provider.
    pub backend: Option<String>,
    /// `finished`, `failed` or `cancelled`.
    pub status: Option<String>,
    /// The id or the name of the sender's API key.
    pub key: Option<String>,
    /// The earliest start, as in RFC 3339.
    pub since: Option<String>,
}

/// The query of the request log's tail.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TailQuery {
    /// The model's name as the client gave it, or its id at the backend.
    pub model: Option<String>,
    /// `local` or the name of a provider.
    pub backend: Option<String>,
    /// `finished`, `failed` or `cancelled`.
    pub status: Option<String>,
    /// The id or the name of the sender's API key.
    pub key: Option<String>,
}

/// A page of the request log.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "RequestRecords")]
pub struct Requests {
    /// The latest first.
    pub requests: Vec<RequestRow>,
    /// The `after` of the next page; null on the last one.
    pub next: Option<String>,
}

/// One ended request with the trace of its route.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RequestDetail {
    /// The request.
    #[serde(flatten)]
    pub row: RequestRow,
    /// The choice of its route; null if the settings have no route for the model's name.
    pub trace: Option<RouteTrace>,
    /// Its prompt and outputs, if they are stored; null for a key without the scope `admin`, too.
    pub content: Option<StoredContent>,
}

/// One ended request in an export.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ExportedRequest {
    /// The request.
    #[serde(flatten)]
    pub row: RequestRow,
    /// Its prompt and outputs, if they are asked for and stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<StoredContent>,
}

/// The choice of a route, and the reasons why its earlier models did not answer.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct RouteTrace {
    /// The route that applied; null if none did.
    pub route: Option<String>,
    /// The models in the order in which they are asked.
    pub targets: Vec<String>,
    /// Each route that was looked at, in order.
    pub steps: Vec<Step>,
    /// Why the first targets did not answer, in order.
    pub reasons: Vec<String>,
}

/// The outcome of a provider's test.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct ProviderTest {
    /// Whether it answered, and took the key.
    pub ok: bool,
    /// Why not.
    pub problem: Option<String>,
    /// The number of models in its list.
    pub listed_models: usize,
    /// The models of the settings that are not in its list. Some providers list only a part.
    pub missing_models: Vec<String>,
    /// The models in its list, sorted by id.
    pub models: Vec<DiscoveredModel>,
    /// The time that it took.
    pub elapsed_ms: Option<u64>,
}

/// A model in a provider's list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct DiscoveredModel {
    /// Its id, as the provider's settings name it.
    pub id: String,
    /// The maximum of prompt and output together, in tokens, if the list says it.
    pub context: Option<u32>,
}

/// A request to choose a route for.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "RouteQuestion")]
#[serde(deny_unknown_fields)]
pub struct Explain {
    /// The model's name as a client gives it.
    pub model: String,
    /// Whether the request has tools.
    #[serde(default)]
    pub has_tools: bool,
    /// Whether the request has images.
    #[serde(default)]
    pub has_images: bool,
    /// The tokens of its prompt; a request without them generates nothing.
    pub prompt_tokens: Option<u32>,
    /// The name or the id of the sender's API key.
    pub key: Option<String>,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its metadata.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// The local time, such as `22:15`; now by default.
    pub time: Option<String>,
    /// The `x-request-id`, which decides a split.
    pub request_id: Option<String>,
    /// The last message of the user. Models that judge are asked about it; without it none is.
    pub text: Option<String>,
}

impl Body for Explain {}

/// The body of `load`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "LoadOrder")]
#[serde(deny_unknown_fields, default)]
pub struct Load {
    /// How long the model stays loaded when it is idle.
    pub keep_alive: Option<KeepAlive>,
}

impl Body for Load {}

/// The body of `unload`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "UnloadOrder")]
#[serde(deny_unknown_fields, default)]
pub struct Unload {
    /// Whether running requests are aborted.
    pub force: bool,
}

impl Body for Unload {}

/// The body of `restart`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[schemars(rename = "RestartOrder")]
#[serde(deny_unknown_fields)]
pub struct Restart {}

impl Body for Restart {}

/// The body of `pin`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "PinOrder")]
#[serde(deny_unknown_fields, default)]
pub struct Pin {
    /// The new value.
    pub pinned: bool,
}

impl Body for Pin {}

impl Default for Pin {
    fn default() -> Self {
        Self { pinned: true }
    }
}
