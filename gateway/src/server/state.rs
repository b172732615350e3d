//! The state behind all handlers. Each handler extracts only the parts that it uses.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use ipc_proto::gateway::GatewayConfig;

use crate::access::Keys;
use crate::admin::login::SignIn;
use crate::admin::settings::Secrets;
use crate::dispatch::Services;
use crate::fleet::watch::FleetWatch;
use crate::protocols::openai::responses::socket::Sockets;
use crate::protocols::openai::responses::store::ResponseStore;
use crate::server::middleware::host::HostPolicy;
use crate::server::middleware::idempotency::Idempotency;
use crate::server::middleware::intake::IntakePolicy;
use crate::server::middleware::origin::OriginPolicy;
use crate::store::Db;
use crate::store::key_store::KeyStore;
use crate::store::login_store::LoginStore;
use crate::store::routing_store::RoutingStore;

/// Shared by all requests. Cheap to clone.
#[derive(Clone, FromRef)]
pub struct AppState {
    /// The dispatcher, the supervisor and the audit log.
    pub services: Services,
    /// Changes of models and workers.
    pub watch: FleetWatch,
    /// Stored responses.
    pub responses: Arc<ResponseStore>,
    /// The database.
    pub db: Db,
    /// WebSocket connections.
    pub sockets: Arc<Sockets>,
    /// The API keys in use.
    pub keys: Arc<Keys>,
    /// Those in the database.
    pub key_store: Arc<KeyStore>,
    /// The sign-in to the web UI.
    pub sign_in: Arc<SignIn>,
    /// The providers and routes.
    pub routing: Arc<RoutingStore>,
    /// The names under which the server answers.
    pub hosts: Arc<HostPolicy>,
    /// The web pages that may send requests.
    pub origins: Arc<OriginPolicy>,
    /// Which secrets the settings have.
    pub secrets: Arc<Secrets>,
    /// Limits of request bodies.
    pub intake: IntakePolicy,
    /// Responses to requests with an idempotency key.
    pub idempotency: Arc<Idempotency>,
}

/// The things that are stored in the home folder.
#[derive(Clone)]
pub struct Stores {
    /// Responses.
    pub responses: Arc<ResponseStore>,
    /// API keys.
    pub keys: Arc<KeyStore>,
    /// Providers and routes.
    pub routing: Arc<RoutingStore>,
}

impl AppState {
    /// The state of a gateway with these settings.
    pub fn new(config: &GatewayConfig, services: Services, watch: FleetWatch, stores: Stores) -> Self {
        let Stores { responses, keys: key_store, routing } = stores;
        let keys = key_store.keys();
        let sign_in = SignIn::new(LoginStore::new(responses.db().clone(), Arc::clone(&key_store)));
        let hosts = HostPolicy { keys: Arc::clone(&keys), allowed: config.allowed_hosts.clone() };
        let origins = OriginPolicy { keys: Arc::clone(&keys), allowed: config.cors_origins.clone() };
        Self {
            services,
            watch,
            db: responses.db().clone(),
            responses,
            sockets: Arc::default(),
            keys,
            key_store,
            sign_in: Arc::new(sign_in),
            routing,
            hosts: Arc::new(hosts),
            origins: Arc::new(origins),
            secrets: Arc::new(config.into()),
            intake: IntakePolicy { patience: Duration::from_secs(config.body_seconds.into()) },
            idempotency: Arc::default(),
        }
    }
}
