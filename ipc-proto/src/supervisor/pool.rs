//! The memory budget, as it is told of.

use serde::{Deserialize, Serialize};

use crate::worker::Health;

/// The budget and who has what of it; all numbers are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pool {
    /// What workers may have together.
    pub budget: u64,
    /// What is granted.
    pub leased: u64,
    /// What workers have, as measured.
    pub measured: u64,
    /// The machine's memory, or its control group's where that is less.
    pub physical: u64,
    /// What the system could give to somebody now.
    pub available: u64,
    /// How the system is doing.
    pub pressure: Pressure,
    /// One for each worker process.
    pub leases: Vec<Lease>,
    /// Models that wait for memory, the first first.
    pub queue: Vec<String>,
    /// Workers evicted since the supervisor started.
    pub evictions: u64,
    /// Ids that settings are there for, but no model.
    pub unknown: Vec<String>,
}

/// What one worker may have.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Lease {
    /// The model.
    pub model: String,
    /// Which of its processes.
    pub incarnation: u64,
    /// Bytes granted in all.
    pub bytes: u64,
    /// Of these, for weights.
    pub weights: u64,
    /// Of these, for the KV cache.
    pub kv: u64,
    /// Of these, for what a step needs for a moment, and the process itself.
    pub transient: u64,
    /// Bytes it has, as measured.
    pub footprint: u64,
    /// What it said of itself last.
    pub health: Health,
}

/// How the system is doing for memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Pressure {
    /// There is enough.
    #[default]
    Normal,
    /// It gets short: caches shrink, and no model is loaded.
    Warn,
    /// There is none: idle models are ended.
    Critical,
}
