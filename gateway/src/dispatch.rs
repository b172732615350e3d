//! Takes requests to the backends and their events back to the clients.

use std::sync::Arc;

use crate::audit::bus::Bus;
use crate::fleet::{Catalogue, FleetClient};
use crate::inference::directory::Directory;

pub mod choices;
pub mod deliver;
pub mod dispatcher;
pub mod json_line;
pub mod providers;
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
    /// The models, also while the supervisor is silent.
    pub catalogue: Catalogue,
    /// The names of providers' models, and the routes.
    pub names: Arc<Directory>,
    /// The queue for the records of ended requests.
    pub audit: Bus,
}

impl Services {
    /// The services over this dispatcher and supervisor.
    pub fn new(
        dispatcher: Arc<Dispatcher>,
        fleet: Arc<FleetClient>,
        names: Arc<Directory>,
        audit: Bus,
    ) -> Self {
        let catalogue = Catalogue::new(Arc::clone(&fleet));
        Self { dispatcher, fleet, catalogue, names, audit }
    }
}
