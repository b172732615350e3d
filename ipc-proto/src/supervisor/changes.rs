//! News of the fleet.

use serde::{Deserialize, Serialize};

use super::{ModelState, Pressure, WorkerAddress};

/// What [`super::Supervisor::watch`] answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changes {
    /// What to ask with the next time.
    pub revision: u64,
    /// The caller was too far behind: some changes are not told, and the whole list has to be read again.
    pub lost: bool,
    /// In order.
    pub changes: Vec<Change>,
}

/// One thing changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Change {
    /// Counts changes since the supervisor started.
    pub revision: u64,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// What kind of thing.
    pub subject: Subject,
    /// The model's id; empty where it is none of them.
    pub model: String,
    /// What its workers do now.
    pub state: ModelState,
    /// Workers that take requests now. One that drains is not among them.
    pub ready: Vec<WorkerAddress>,
    /// Why, for a person: "evicted to make room for …".
    pub note: String,
}

/// What a [`Change`] is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Subject {
    /// A model's workers; while one loads, its progress in tenths.
    #[default]
    Workers,
    /// A model came to the disk, was changed there, or went from it.
    Files {
        /// Whether it is there now.
        there: bool,
    },
    /// How the system is doing for memory.
    Pressure(Pressure),
}
