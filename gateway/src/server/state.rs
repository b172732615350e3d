//! The state behind all handlers. Each handler extracts only the parts that it uses.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::access::Keys;
use crate::dispatch::Services;
use crate::fleet::watch::FleetWatch;
use crate::protocols::openai::responses::store::Responses;
use crate::server::middleware::idempotency::Idempotency;

/// Shared by all requests; cheap to clone.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// The way to models, the supervisor and the audit log.
    pub services: Services,
    /// Changes of the fleet.
    pub watch: FleetWatch,
    /// Stored responses.
    pub responses: Arc<Responses>,
    /// The keys that open the API.
    pub keys: Arc<Keys>,
    /// Answers to requests with an idempotency key.
    pub idempotency: Arc<Idempotency>,
}
