//! What every handler reaches.

use std::sync::Arc;

use crate::audit::bus::Bus;
use crate::backend::local::Local;
use crate::middleware::auth::Keys;
use crate::middleware::idempotency::Idempotency;
use crate::responses::Responses;

/// Shared by all requests; cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// Models on this machine.
    pub local: Arc<Local>,
    /// Records of ended requests.
    pub audit: Bus,
    /// Who may come in.
    pub keys: Arc<Keys>,
    /// Responses that are kept, and those that are made while nobody waits.
    pub responses: Arc<Responses>,
    /// Answers of requests that may be sent again.
    pub idempotency: Arc<Idempotency>,
}
