//! News of the fleet.

use serde::{Deserialize, Serialize};

use super::{ModelState, WorkerAddress};

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

/// One model changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Change {
    /// Counts changes since the supervisor started.
    pub revision: u64,
    /// When, milliseconds since the epoch.
    pub at_ms: u64,
    /// The model's id.
    pub model: String,
    /// What its workers do now.
    pub state: ModelState,
    /// Workers that take requests now. One that drains is not among them.
    pub ready: Vec<WorkerAddress>,
    /// Why, for a person: "evicted to make room for …".
    pub note: String,
}
