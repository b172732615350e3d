//! What the supervisor answers on its socket (the gateway calls it).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::worker::ModelInfo;

/// The supervisor's control interface.
#[tarpc::service]
pub trait Supervisor {
    /// Returns once a worker serves `model`, starting one where none runs. Many callers share one start.
    async fn ensure_ready(model: String) -> Result<WorkerAddress>;

    /// Every model that could be served, by id.
    async fn models() -> Vec<ModelEntry>;
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

/// One model on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelEntry {
    /// Its path below the models directory that holds it.
    pub id: String,
    /// Modification time of its config.json, seconds since the epoch.
    pub created: u64,
    /// Bytes of its weight files.
    pub bytes: u64,
    /// What its worker is doing.
    pub state: ModelState,
}

/// What a model's worker is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ModelState {
    /// No process.
    Stopped,
    /// The process is loading the model.
    Loading,
    /// Requests can be served.
    Ready,
    /// The last start failed, for this reason.
    Failed(String),
}
