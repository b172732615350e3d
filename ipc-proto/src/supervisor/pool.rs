//! The memory budget and its leases.

use serde::{Deserialize, Serialize};

use crate::worker::Health;

/// The memory budget and its leases. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Pool {
    /// The limit for all workers together.
    pub budget: u64,
    /// Memory granted to workers.
    pub leased: u64,
    /// Measured memory of all workers.
    pub measured: u64,
    /// The memory of the machine, or of the control group if that is less.
    pub physical: u64,
    /// Memory that the system has available.
    pub available: u64,
    /// The system's memory pressure.
    pub pressure: Pressure,
    /// One lease for each worker process.
    pub leases: Vec<Lease>,
    /// Models that wait for memory, in order.
    pub queue: Vec<String>,
    /// Workers evicted since the supervisor started.
    pub evictions: u64,
    /// Ids with settings and without a model.
    pub unknown: Vec<String>,
    /// A sentence for each model that is not served, because another folder has one of the same id.
    pub hidden: Vec<String>,
}

/// The memory granted to one worker.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Lease {
    /// The model's id.
    pub model: String,
    /// The number of the worker process.
    pub incarnation: u64,
    /// Granted bytes in total.
    pub bytes: u64,
    /// The part for weights, in bytes.
    pub weights: u64,
    /// The part for the KV cache, in bytes.
    pub kv: u64,
    /// The part for temporary buffers of a step and for the process itself, in bytes.
    pub transient: u64,
    /// Measured memory, in bytes.
    pub footprint: u64,
    /// The health that the worker reported last.
    pub health: Health,
}

/// The system's memory pressure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub enum Pressure {
    /// Enough memory.
    #[default]
    Normal,
    /// Little memory left: caches shrink, and no model is loaded.
    Warn,
    /// No memory left: idle models are unloaded.
    Critical,
}
