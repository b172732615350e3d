//! Lines of the log that the supervisor keeps.

use serde::{Deserialize, Serialize};

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// Its number, counted since the server started.
    pub number: u64,
    /// `supervisor`, `gateway`, `hub`, or the model's id of a worker.
    pub process: String,
    /// The line without the process's name.
    pub text: String,
}

/// The answer of [`super::Supervisor::logs`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogLines {
    /// When the numbers began, in milliseconds since the epoch. Each run of the server has its own.
    pub since_ms: u64,
    /// The oldest first.
    pub lines: Vec<LogLine>,
    /// Whether lines in between are no longer kept.
    pub has_gap: bool,
}
