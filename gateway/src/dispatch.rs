//! The way from a request to its events and back to the client.

use std::sync::Arc;

use crate::audit::bus::Bus;
use crate::fleet::FleetClient;

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
    /// Gives requests to backends.
    pub dispatcher: Arc<Dispatcher>,
    /// The supervisor.
    pub fleet: Arc<FleetClient>,
    /// Takes the records of ended requests.
    pub audit: Bus,
}
