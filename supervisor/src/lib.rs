//! The root process of `mlxd serve`: starts, watches and stops the gateway and the workers.
//!
//! It is small on purpose. It never links MLX and never parses HTTP, and tokens never pass through it. It binds the
//! public socket and the gateway inherits it, so the death of a gateway refuses no connection. It is the parent of all
//! other processes, so its own death ends them.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

mod backoff;
mod child;
mod estimate;
mod eviction;
mod failures;
mod fleet;
mod gateway;
mod home;
mod log;
mod machine;
mod memory;
mod overrides;
mod pressure;
mod process;
mod registry;
mod rpc;

use child::Programs;
pub use fleet::Policy;
pub use home::{HomeError, control_socket};
pub use log::Log;
use overrides::SettingsOverrides;
use registry::Store;

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
    /// How often a request may move to another worker after its own was lost; `None` for the gateway's default.
    pub recoveries: Option<u32>,
    /// Seconds that a replaced gateway has to finish its requests.
    pub drain_seconds: u32,
    /// Days for which responses are kept; `None` for the gateway's default.
    pub response_days: Option<u32>,
    /// Origins of web pages that may read answers, comma-separated.
    pub cors_origins: Option<String>,
    /// Keys that clients must present; empty for none. The gateway gets them through its environment.
    pub api_keys: Secret,
}

/// Bytes of memory that the machine has, or its control group if that is less.
pub fn physical_memory() -> u64 {
    machine::memory().total
}

/// A text that `Debug` redacts.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether the text is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A reason why the server cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be bound.
    #[error(
        "cannot listen on {host}:{port}: {cause} (is another server running? choose another with --port)"
    )]
    Bind {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// The system's error.
        cause: std::io::Error,
    },
    /// The home directory cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The settings of earlier runs cannot be read.
    #[error("{}: {problem}; correct the file, or delete it to forget the settings in it", path.display())]
    Settings {
        /// The path of `settings.toml`.
        path: PathBuf,
        /// A sentence for the user.
        problem: String,
    },
    /// A program that belongs beside `mlxd` is missing.
    #[error("{} is missing; it belongs beside mlxd (built by `cargo build --release`)", .0.display())]
    Program(PathBuf),
    /// The system refused an operation.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Time that running requests have to finish when the server stops.
const GATEWAY_GRACE: Duration = Duration::from_secs(5);
/// Time that a worker has after the gateway has ended. Its tokens have no reader by then.
const WORKER_GRACE: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT, then stops all processes in order. A second signal kills them at once.
///
/// Needs a current-thread runtime: the kernel kills children when the thread that spawned them ends.
///
/// # Errors
/// The server cannot start: the address is taken, the home is in use, or a program is missing.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    // First of all: the kernel then queues early clients instead of refusing them.
    let listener = bind(&config.host, config.port).map_err(|cause| ServeError::Bind {
        host: config.host.clone(),
        port: config.port,
        cause,
    })?;
    let address = listener.local_addr()?;
    let home = home::Home::lock(&config.home)?;
    let settings = config.home.join(overrides::FILE_NAME);
    let overrides = SettingsOverrides::load(settings.clone())
        .map_err(|problem| ServeError::Settings { path: settings, problem })?;
    let programs = Programs::beside_this()?;
    let stores = model_stores(&config)?;
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let fleet = fleet::start(fleet::FleetSetup {
        sources: registry::sources(stores),
        program: programs.worker,
        run: home.run().to_owned(),
        policy: config.policy,
        overrides,
        pressure: pressure::probe(),
    })?;
    let socket = home.run().join(home::CONTROL_SOCKET);
    let calls = ipc_proto::socket::listen(&socket)?;
    let stop = Arc::new(Notify::new());
    let gateway = gateway::start(gateway::GatewayLaunch {
        program: programs.gateway,
        listener: listener.into_std()?,
        supervisor: socket,
        home: config.home,
        api_keys: config.api_keys,
        recoveries: config.recoveries,
        drain_seconds: config.drain_seconds,
        response_days: config.response_days,
        cors_origins: config.cors_origins,
    });
    let services = rpc::Services { fleet: fleet.clone(), gateway: gateway.clone(), stop: Arc::clone(&stop) };
    tokio::spawn(rpc::serve(calls, services));
    tracing::info!("mlxd is listening on http://{address}");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        () = stop.notified() => {}
    }
    tracing::info!("stopping (a second signal stops at once)");
    tokio::select! {
        () = async { gateway.stop(GATEWAY_GRACE).await; fleet.stop(WORKER_GRACE).await } => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // Dropping the runtime kills the remaining children.
    drop(home);
    tracing::info!("stopped");
    Ok(())
}

/// The model stores in order of precedence. Creates the home's folder for models.
fn model_stores(config: &Config) -> std::io::Result<Vec<Store>> {
    let own = config.home.join("models");
    std::fs::create_dir_all(&own)?;
    let mut folders: Vec<PathBuf> = config.models.iter().filter(|folder| **folder != own).cloned().collect();
    folders.push(own);
    let mut stores: Vec<Store> = folders.into_iter().map(Store::Folder).collect();
    stores.extend(registry::stores_of_other_programs(|name| {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }));
    Ok(stores)
}

fn bind(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let address = *addresses.first().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait until the last run's connections have timed out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}
