//! Takes requests to the backends and their events back to the clients.

use std::sync::Arc;

use ipc_proto::gateway::Routes;

use crate::audit::bus::Bus;
use crate::fleet::FleetClient;
use crate::inference::provider_models::ProviderModels;

pub mod choices;
pub mod deliver;
pub mod dispatcher;
pub mod replay_buffer;
pub mod sse;
pub mod writer;

pub use dispatcher::{Dispatcher, GenerateRequest, Target};

/// The services that handlers use; cheap to clone.
#[derive(Clone)]
pub struct Services {
    /// The way to the backends.
    pub dispatcher: Arc<Dispatcher>,
    /// The supervisor.
    pub fleet: Arc<FleetClient>,
    /// The models of providers.
    pub providers: Arc<ProviderModels>,
    /// The models that answer for further names.
    pub routes: Arc<Routes>,
    /// The queue for the records of ended requests.
    pub audit: Bus,
}
