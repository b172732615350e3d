//! The service of the supervisor on its socket, for the gateway and the command line.
//!
//! Calls name a model by its id or an alias. An unknown name is [`crate::ErrorKind::NotFound`] in all of them.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::generate::Priority;
use crate::hub::{Download, DownloadChange, DownloadOrder, Downloads, FoundModel, HubQuery, RemovedModel};
use crate::worker::ModelInfo;

pub mod changes;
pub mod live;
pub mod logs;
pub mod models;
pub mod pool;
pub mod settings;

pub use changes::{Change, Changes, Subject};
pub use live::{LiveSetting, LiveSettings, SettingEffect, SettingSource, SettingsChange, SettingsOutcome};
pub use logs::{LogLine, LogLines};
pub use models::{
    Capabilities, Details, Exit, ModelEntry, ModelState, ReasoningControl, WorkerEntry, WorkerState,
};
pub use pool::{Lease, Pool, Pressure};
pub use settings::{KeepAlive, ModelSettings};

/// The supervisor's control interface.
#[tarpc::service]
pub trait Supervisor {
    /// Waits until a worker serves the model, and starts its workers if none runs. Returns the addresses of all ready workers, at
    /// least one. Simultaneous callers share one start. If the caller leaves before the start has begun, nothing starts.
    ///
    /// Fails with `Unavailable` and the sizes if the model does not fit into memory, and with `ModelBroken` if it cannot be
    /// loaded.
    async fn ensure_ready(want: Want) -> Result<Vec<WorkerAddress>>;

    /// All models, sorted by id.
    async fn models() -> Vec<ModelEntry>;

    /// One model. Only this call resolves names: callers then use the entry's id.
    async fn model(name: String) -> Result<ModelEntry>;

    /// Sets how long a running model stays loaded when it is idle, until the next call. [`KeepAlive::Default`] restores the setting.
    /// Has no effect on models that do not run.
    async fn keep_alive(model: String, keep: KeepAlive) -> Result<()>;

    /// Ends the model's workers and waits until their memory is free. Running requests have the drain time to complete, or no time
    /// with `force`. Then they fail, and do not load the model again.
    async fn unload(model: String, force: bool) -> Result<()>;

    /// Replaces a process and waits until the new one serves. The old one drains afterwards if both fit into memory.
    async fn restart(what: Restart) -> Result<()>;

    /// Sets whether a model is exempt from eviction, also for later runs of the server. Pinning does not load the model.
    async fn pin(model: String, pinned: bool) -> Result<()>;

    /// Starts a graceful shutdown of the server, like SIGTERM. Does not wait for its end.
    async fn stop();

    /// The memory budget and its leases.
    async fn pool() -> Pool;

    /// Waits for changes after `revision`. Without changes it answers after about 20 s, with the same revision. A caller begins with
    /// 0: the call answers at once with the current revision and no changes.
    async fn watch(revision: u64) -> Changes;

    /// The effective settings of a model.
    async fn settings(model: String) -> Result<ModelSettings>;

    /// Replaces a model's settings, also for later runs of the server. Aliases, pin, idle time, priority and replicas take effect at
    /// once, the rest at the next start of a worker. If they cannot be written to disk, it fails and changes nothing.
    async fn set_settings(model: String, settings: ModelSettings) -> Result<()>;

    /// The sign of life of a gateway, once a second. Without it, the supervisor replaces the gateway. The answer is a sign of life of
    /// the supervisor.
    async fn beat();

    /// Does not count the death of a worker against its model: it had a request that has lost another worker before.
    async fn excuse(model: String, incarnation: u64) -> Result<()>;

    /// As [`crate::hub::Hub::downloads`]. Without a file of downloads no hub process is started.
    async fn downloads() -> Result<Vec<Download>>;

    /// As [`crate::hub::Hub::add`].
    async fn add_download(order: DownloadOrder) -> Result<Download>;

    /// As [`crate::hub::Hub::change`].
    async fn change_download(id: String, change: DownloadChange) -> Result<Download>;

    /// As [`crate::hub::Hub::remove`].
    async fn remove_download(id: String, keep: bool) -> Result<Download>;

    /// As [`crate::hub::Hub::search`].
    async fn search_hub(query: HubQuery) -> Result<Vec<FoundModel>>;

    /// As [`crate::hub::Hub::watch`], twice a second at most. The revisions are the supervisor's own.
    async fn watch_downloads(revision: u64) -> Downloads;

    /// As [`crate::hub::Hub::removal`].
    async fn removal(model: String) -> Result<RemovedModel>;

    /// Unloads a model as [`Supervisor::unload`] does, and removes it from disk. Its settings stay.
    async fn remove_model(model: String) -> Result<RemovedModel>;

    /// Lines of the log behind the one of this number, the oldest first. Without a number: the last ones.
    async fn logs(after: Option<u64>, most: u32) -> LogLines;

    /// The server's own settings, as flags, environment and file have them now.
    async fn live_settings() -> Result<LiveSettings>;

    /// Changes them in the file, and puts those in force that need no restart. The gateway is replaced if that takes one.
    async fn change_live_settings(change: SettingsChange) -> Result<SettingsOutcome>;
}

/// The argument of [`Supervisor::ensure_ready`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Want {
    /// Id or alias of the model.
    pub model: String,
    /// How long the model stays loaded when it is idle, unless a request sets it. Valid until the model is unloaded.
    pub keep_alive: Option<KeepAlive>,
    /// The class in the queue of models that wait for memory.
    pub priority: Priority,
    /// The incarnation of the lost worker that had the request before. If an operator has unloaded it, the call fails and loads
    /// nothing.
    pub lost: Option<u64>,
}

impl Want {
    /// A call for the model `id` with default options.
    pub fn model(id: impl Into<String>) -> Self {
        Self { model: id.into(), ..Self::default() }
    }
}

/// The process to replace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// The gateway. Models stay loaded.
    Gateway,
    /// The workers of a model. Has no effect if none runs.
    Model(String),
}

/// The address of a running worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerAddress {
    /// The worker's socket, for control and step-frame connections.
    pub socket: PathBuf,
    /// The number of the process. The supervisor counts all worker processes since its start.
    pub incarnation: u64,
    /// The loaded model.
    pub model: ModelInfo,
}

/// The socket on which a runner passes HTTP on, beside its socket for calls.
pub fn http_socket(socket: &Path) -> PathBuf {
    socket.with_extension("http")
}
