//! Takes requests to the backends and their events back to the clients.

use std::sync::Arc;

use crate::audit::bus::Bus;
use crate::backends::by_name::ByName;
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

pub use crate::backends::judging::{Judges, Subject};
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
    /// Decides on routes, and asks the models of this machine that judge.
    pub judges: Arc<Judges>,
    /// The queue for the records of ended requests.
    pub audit: Bus,
}

impl Services {
    /// The services over this backend and supervisor. A request is retried up to `retries` times.
    pub fn new(backend: ByName, retries: u32, fleet: Arc<FleetClient>, audit: Bus) -> Self {
        let (names, judges) = (Arc::clone(backend.directory()), Arc::clone(backend.judges()));
        let dispatcher = Arc::new(Dispatcher::new(Arc::new(backend), retries));
        let catalogue = Catalogue::new(Arc::clone(&fleet));
        Self { dispatcher, fleet, catalogue, names, judges, audit }
    }
}
