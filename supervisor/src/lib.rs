//! The root process of `mlxd serve`: starts, watches and stops the gateway and the workers.
//!
//! It is small on purpose. It never links MLX and never parses HTTP, and tokens never pass through it. It binds the
//! public socket and the gateway inherits it, so the death of a gateway refuses no connection. It is the parent of all
//! other processes, so its own death ends them.

use std::path::PathBuf;

use secrecy::SecretString;

mod backoff;
mod child;
mod descriptors;
mod disk;
mod document;
mod error;
mod estimate;
mod eviction;
mod external;
mod failures;
mod fleet;
mod gateway;
mod home;
mod hub;
mod live;
mod log;
mod machine;
mod memory;
mod overrides;
mod pressure;
mod process;
mod registry;
mod rpc;
mod serve;
mod sibling;
mod signals;
#[cfg(any(test, feature = "test-doubles"))]
mod test_doubles;

pub use disk::{
    DiskModel, Owner, header_details, memory_budget, memory_needed, models_on_disk, remote_details,
};
pub use error::ServeError;
pub use external::ExternalModel;
pub use fleet::Policy;
pub use home::{HomeError, address, control_socket};
pub use live::{Edited, SettingsFile};
pub use log::Log;
pub use serve::serve;
pub use sibling::sibling;

/// The options of `mlxd serve`.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Database, sockets and lock live here.
    pub home: PathBuf,
    /// Folders of models in order of precedence. Those of the home and of other programs follow.
    pub models: Vec<PathBuf>,
    /// Rules for memory and models.
    pub policy: Policy,
    /// The models of backends.
    pub externals: Vec<ExternalModel>,
    /// Seconds that a replaced gateway has to finish its requests.
    pub drain_seconds: u32,
    /// The gateway's settings: an `ipc_proto::gateway::GatewayConfig` in JSON. The supervisor does not read it.
    pub gateway: SecretString,
    /// The hub process's settings: an `ipc_proto::hub::HubConfig` in JSON. The supervisor does not read it.
    pub hub: SecretString,
}

/// Bytes of memory that the machine has, or its control group if that is less.
pub fn physical_memory() -> u64 {
    machine::memory().total
}
