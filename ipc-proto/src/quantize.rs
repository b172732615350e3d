//! What `mlxd-worker quantize` says to the command that started it: a line of JSON for each event.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An event of a conversion.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum QuantizeEvent {
    /// Writing begins.
    Planned {
        /// Layers that are packed.
        packed: usize,
        /// Paths of the other layers: groups do not divide their inputs.
        kept: Vec<String>,
        /// Bytes that will be read.
        read: u64,
        /// Bytes that will be written.
        write: u64,
    },
    /// Some more weights are written.
    Progress {
        /// Bytes read so far.
        read: u64,
    },
    /// The model is there.
    Done {
        /// Its folder.
        folder: PathBuf,
        /// Bytes of all its files.
        bytes: u64,
        /// Bits of its weight files for each weight.
        bits_per_weight: f64,
    },
    /// There is no model.
    Failed {
        /// A sentence for the user.
        message: String,
    },
}
