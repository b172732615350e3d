//! Changes of models, workers and memory pressure.

use serde::{Deserialize, Serialize};

use super::{ModelState, Pressure, WorkerAddress};

/// The answer of [`super::Supervisor::watch`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changes {
    /// The revision for the next call.
    pub revision: u64,
    /// The caller was too far behind and has missed changes: it must read the whole list again.
    pub lost: bool,
    /// The changes in order.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Change {
    /// Counts changes since the supervisor started.
    pub revision: u64,
    /// Time of the change, milliseconds since the epoch.
    pub at_ms: u64,
    /// The subject of the change.
    pub subject: Subject,
    /// The model's id; empty if the subject is no model.
    pub model: String,
    /// The new state of its workers.
    pub state: ModelState,
    /// The workers that take requests now, without draining ones.
    pub ready: Vec<WorkerAddress>,
    /// The reason, for people: "evicted to make room for …".
    pub note: String,
}

/// The subject of a [`Change`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Subject {
    /// A model's workers; while one loads, its progress in tenths.
    #[default]
    Workers,
    /// A model's files were added, changed or removed.
    Files {
        /// Whether the model exists now.
        there: bool,
    },
    /// The system's memory pressure.
    Pressure(Pressure),
}
