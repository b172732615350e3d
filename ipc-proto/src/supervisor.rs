//! What the supervisor answers on its socket (the gateway calls it, and the command line).
//!
//! A model is named by its id or by one of its aliases; an unknown name is [`crate::ErrorKind::NotFound`] everywhere.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::generate::Priority;
use crate::worker::ModelInfo;

pub mod changes;
pub mod models;
pub mod pool;
pub mod settings;

pub use changes::{Change, Changes, Subject};
pub use models::{Capabilities, Details, Exit, ModelEntry, ModelState, WorkerEntry, WorkerState};
pub use pool::{Lease, Pool, Pressure};
pub use settings::{KeepAlive, ModelSettings};

/// The supervisor's control interface.
#[tarpc::service]
pub trait Supervisor {
    /// Returns once a worker serves the model, starting its workers where none runs: one address for each that is ready,
    /// never none. Many callers share one start. A caller that leaves before the start began causes none.
    ///
    /// Fails with `Unavailable` and the numbers where the model does not fit into memory, and with `ModelBroken` where it
    /// cannot be loaded.
    async fn ensure_ready(want: Want) -> Result<Vec<WorkerAddress>>;

    /// Every model that could be served, by id.
    async fn models() -> Vec<ModelEntry>;

    /// One model. This is the only resolution of names: callers go on with the entry's id.
    async fn model(name: String) -> Result<ModelEntry>;

    /// Says for how long a running model is kept when it falls idle, as a request has it: until another request says otherwise,
    /// and [`KeepAlive::Default`] takes it back. Models that do not run are left alone.
    async fn keep_alive(model: String, keep: KeepAlive) -> Result<()>;

    /// Ends the model's workers and returns once their memory is back. Without `force` running requests get the time to
    /// end that a drain has, and then are cut off; with it they are cut off at once. A request that is cut off fails: it does
    /// not load the model again.
    async fn unload(model: String, force: bool) -> Result<()>;

    /// Starts something anew and returns once the new process serves; the old one drains after that where both fit.
    async fn restart(what: Restart) -> Result<()>;

    /// Says whether a model may be evicted to make room, also for the server's next runs. Pinning does not load.
    async fn pin(model: String, pinned: bool) -> Result<()>;

    /// Ends the server in order: as SIGTERM does. Returns when that has begun.
    async fn stop();

    /// The memory budget and who has what of it.
    async fn pool() -> Pool;

    /// Changes after `revision`, once there are any; without news an empty answer with the same revision comes after some
    /// 20 s. A caller begins with 0, which answers at once with the current revision and no changes.
    async fn watch(revision: u64) -> Changes;

    /// A model's settings as they are in force.
    async fn settings(model: String) -> Result<ModelSettings>;

    /// Replaces a model's settings, also for the server's next runs: aliases, pin, idle time, priority and replicas at once, the
    /// rest with the next start of a worker. Fails, and changes nothing, where they cannot be written down.
    async fn set_settings(model: String, settings: ModelSettings) -> Result<()>;
}

/// What is asked of [`Supervisor::ensure_ready`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Want {
    /// Id or alias.
    pub model: String,
    /// How long it is kept when it falls idle, where no request says anything else, until it is unloaded.
    pub keep_alive: Option<KeepAlive>,
    /// Among models that wait for memory, who is first.
    pub priority: Priority,
    /// The incarnation of the worker that had taken the request before and was lost. Where that was unloaded on purpose the
    /// answer is an error, and nothing is loaded.
    pub lost: Option<u64>,
}

impl Want {
    /// A model as it is.
    pub fn model(id: impl Into<String>) -> Self {
        Self { model: id.into(), ..Self::default() }
    }
}

/// What is started anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restart {
    /// The gateway; the models stay.
    Gateway,
    /// A model's workers. One that does not run is left alone.
    Model(String),
}

/// Where a running worker listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerAddress {
    /// The worker's socket: control and step-frame connections alike.
    pub socket: PathBuf,
    /// Counts worker processes since the supervisor started; a new number is a new process.
    pub incarnation: u64,
    /// The model as loaded.
    pub model: ModelInfo,
}
