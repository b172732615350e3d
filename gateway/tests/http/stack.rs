//! The gateway itself, put together as its `main` does it.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gateway::access::Keys;
use gateway::audit::{bus, sink};
use gateway::backends::by_name::{ByName, ProviderPool};
use gateway::backends::local::LocalBackend;
use gateway::dispatch::Services;
use gateway::fleet::FleetClient;
use gateway::fleet::watch::FleetWatch;
use gateway::protocols::openai::responses::store::ResponseStore;
use gateway::server::closable_listener::ClosableListener;
use gateway::server::connections;
use gateway::server::listener::Listeners;
use gateway::server::router::router;
use gateway::server::shutdown::Stage;
use gateway::server::state::{AppState, Stores};
use gateway::store::Db;
use gateway::store::key_store::KeyStore;
use gateway::store::routing_store::RoutingStore;
use ipc_proto::gateway::GatewayConfig;
use tokio::sync::watch;

/// Serves the gateway of the supervisor at this socket.
pub(crate) async fn gateway(
    home: &Path,
    supervisor: PathBuf,
    config: GatewayConfig,
) -> (SocketAddr, Arc<LocalBackend>, FleetWatch) {
    let db = Db::new(home);
    db.open().await.unwrap();
    let (audit, receiver) = bus::bus(None);
    tokio::spawn(sink::run(receiver, db.clone()));
    let responses = Arc::new(ResponseStore::new(db.clone(), home, 30));
    let keys = Keys::new(config.api_keys.expose()).with_sessions((&config).into(), config.require_login);
    let keys = KeyStore::start(db.clone(), home, keys);
    let fleet = Arc::new(FleetClient::new(supervisor));
    let backend = Arc::new(LocalBackend::configured(&fleet, &config));
    let pool = ProviderPool::new(&config).unwrap();
    tokio::spawn(Arc::clone(&pool).follow_costs(db.clone()));
    let by_name = ByName::new(Arc::clone(&backend), Arc::clone(&fleet), Arc::clone(&pool));
    let watch = FleetWatch::default();
    let services = Services::new(by_name, 2, fleet, audit);
    let routing = RoutingStore::start(db, home, &config, move |table| pool.apply(table)).await;
    let stores = Stores { responses, keys, routing };
    let state = AppState::new(&config, services, watch.clone(), stores);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let ((gate, closed), (stage, stages)) = (watch::channel(false), watch::channel(Stage::Serving));
    let listener = ClosableListener::new(Listeners::from_std(vec![listener]).unwrap(), closed);
    let idle = Duration::from_secs(config.idle_connection_seconds.into());
    tokio::spawn(async move {
        connections::serve(listener, router(state), idle, stages).await;
        // Without them the server would end.
        drop((gate, stage));
    });
    (address, backend, watch)
}
