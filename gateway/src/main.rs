//! `mlxd-gateway`: the HTTP server in front of the workers. `mlxd serve` starts it; `mlxd key`, `mlxd provider` and others run its commands.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use gateway::access::Keys;
use gateway::backends::by_name::{ByName, ProviderPool};
use gateway::backends::local::LocalBackend;
use gateway::dispatch::Services;
use gateway::fleet::client::FleetClient;
use gateway::fleet::watch::FleetWatch;
use gateway::protocols::openai::responses::store::ResponseStore;
use gateway::server::closable_listener::ClosableListener;
use gateway::server::listener::Listeners;
use gateway::server::middleware::cors;
use gateway::server::shutdown::{Signals, Stage, draining};
use gateway::server::state::{AppState, Stores};
use gateway::server::{connections, listener, router};
use gateway::store::{Db, key_store::KeyStore, routing_store::RoutingStore};
use gateway::telemetry::logs;
use gateway::{audit, commands, config};
use ipc_proto::gateway::GatewayConfig;
use ipc_proto::{core_files, lifeline};
use tokio::sync::watch;

/// Time for writing the last records at shutdown.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// Serves the HTTP API on a socket that the supervisor has bound.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The numbers of the inherited, listening descriptors.
    #[arg(long, required = true)]
    listen_fd: Vec<i32>,
    /// The supervisor's socket.
    #[arg(long)]
    supervisor: PathBuf,
    /// The folder of the database.
    #[arg(long)]
    home: PathBuf,
    /// The settings, a JSON document. The supervisor passes a pipe.
    #[arg(long)]
    config: PathBuf,
    /// Exit when standard input ends.
    #[arg(long)]
    lifeline: bool,
}

fn main() -> anyhow::Result<()> {
    core_files::forbid();
    if let Some(status) = commands::run()? {
        std::process::exit(status);
    }
    let arguments = Arguments::parse();
    logs::init();
    if arguments.lifeline {
        lifeline::watch()?;
    }
    let listeners =
        arguments.listen_fd.iter().map(|fd| listener::inherited(*fd)).collect::<Result<_, _>>()?;
    let config = config::read(&arguments.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(serve(arguments, &config, listeners))
}

async fn serve(
    arguments: Arguments,
    config: &GatewayConfig,
    listeners: Vec<std::net::TcpListener>,
) -> anyhow::Result<()> {
    let (gate, closed) = watch::channel(false);
    let listener = ClosableListener::new(Listeners::from_std(listeners)?, closed);
    let db = Db::new(&arguments.home);
    db.open_in_background();
    let (queue, audit) = audit::start(&db, config)?;
    let fleet = Arc::new(FleetClient::new(arguments.supervisor));
    let beating = Arc::clone(&fleet);
    tokio::spawn(async move { beating.keep_beating().await });
    let local = Arc::new(LocalBackend::configured(&fleet, config));
    let pool = ProviderPool::new(config)?;
    tokio::spawn(Arc::clone(&pool).follow_costs(db.clone()));
    let backend = ByName::new(Arc::clone(&local), Arc::clone(&fleet), Arc::clone(&pool));
    let services = Services::new(backend, config.recoveries, Arc::clone(&fleet), queue);
    let dispatcher = Arc::clone(&services.dispatcher);
    let changes = FleetWatch::default();
    tokio::spawn(changes.clone().follow(fleet, move |change| local.apply(change)));
    let responses = Arc::new(ResponseStore::new(db.clone(), &arguments.home, config.response_days));
    services.catalogue.fill();
    let keys = Keys::new(config.api_keys.expose()).with_sessions(config.into(), config.require_login);
    let keys = KeyStore::start(db.clone(), &arguments.home, keys);
    let routing =
        RoutingStore::start(db.clone(), &arguments.home, config, move |table| pool.apply(table)).await;
    let stores = Stores { responses: Arc::clone(&responses), keys: Arc::clone(&keys), routing };
    let state = AppState::new(config, services, changes.clone(), stores);
    let drain = Duration::from_secs(config.drain_seconds.into());
    let idle = Duration::from_secs(config.idle_connection_seconds.into());
    let (stage, stages) = watch::channel(Stage::Serving);
    let mut over = stages.clone();
    tokio::spawn(Signals::listen()?.handle(gate, (dispatcher, changes), drain, stage));
    let (sockets, closing) = (Arc::clone(&state.sockets), Arc::clone(&state.sockets));
    let mut router = router::router(state);
    if let Some(cors) = cors::layer(&config.cors_origins) {
        // Outermost: preflight requests carry no key.
        router = router.layer(cors);
    }
    let drains = draining(stages.clone());
    tokio::spawn(async move {
        drains.await;
        closing.close();
    });
    let served = async {
        connections::serve(listener, router, idle, stages).await;
        // Connections that were upgraded are no longer the server's.
        sockets.wait_closed().await;
        // Background responses have as long as requests with a client.
        responses.wait_idle().await;
    };
    tokio::select! {
        () = served => {}
        _ = over.wait_for(|stage| *stage == Stage::Over) => tracing::warn!("requests still running are cut off"),
    }
    // Dropping an aborted request writes its record. Unfinished background responses are stored incomplete.
    let flushed = async { tokio::join!(responses.wait_idle(), audit.finish(), keys.flush()) };
    let _ = tokio::time::timeout(FLUSH_TIMEOUT, flushed).await;
    db.close().await;
    Ok(())
}
