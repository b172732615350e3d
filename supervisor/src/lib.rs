//! The root process of `mlxd serve`: starts, watches and stops the gateway and the workers.
//!
//! It is small on purpose. It never links MLX and never parses HTTP; tokens never pass through it. It binds the public
//! socket and hands it to the gateway as an inherited descriptor, so that a gateway's death refuses no connection, and
//! it is the parent of every other process, so that its own death ends them all.

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
mod kept;
mod log;
mod machine;
mod memory;
mod pressure;
mod process;
mod registry;
mod rpc;

use child::Programs;
pub use fleet::Policy;
pub use home::{HomeError, control_socket};
pub use log::Log;
use registry::{Registry, Store};

/// What `mlxd serve` was asked to do.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Database, sockets and lock live here.
    pub home: PathBuf,
    /// Folders of models, in order of precedence; those of the home and of other programs come after them.
    pub models: Vec<PathBuf>,
    /// Rules for memory and models.
    pub policy: Policy,
    /// Times a request may be given to another worker when its own is lost; `None` leaves it to the gateway.
    pub recoveries: Option<u32>,
    /// Seconds for which a gateway that was replaced keeps its requests.
    pub drain_seconds: u32,
    /// Days for which responses are kept; `None` leaves it to the gateway.
    pub response_days: Option<u32>,
    /// Origins of web pages that may read answers, comma-separated.
    pub cors_origins: Option<String>,
    /// Keys that clients must present, none for none; handed to the gateway through its environment.
    pub api_keys: Secret,
}

/// Bytes of memory that this machine has, or our control group where that is less.
pub fn physical_memory() -> u64 {
    machine::memory().total
}

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// Whether there is nothing to hide.
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

/// Why serving could not begin or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error(
        "cannot listen on {host}:{port}: {cause} (is another server running? choose another with --port)"
    )]
    Bind {
        /// As asked for.
        host: String,
        /// As asked for.
        port: u16,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The home directory cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// What was set in earlier runs cannot be read.
    #[error("{}: {problem}; mend it, or delete it to forget what was set", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A program that belongs beside `mlxd` is not there.
    #[error("{} is missing; it belongs beside mlxd (built by `cargo build --release`)", .0.display())]
    Program(PathBuf),
    /// The system refuses something.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// How long running requests get to finish when the server is asked to stop.
const GATEWAY_GRACE: Duration = Duration::from_secs(5);
/// How long a worker gets after the gateway is gone: nobody waits for its tokens any more.
const WORKER_GRACE: Duration = Duration::from_secs(2);

/// Serves until SIGTERM or SIGINT, then stops everything in order. A second signal stops everything at once.
///
/// Must run on a current-thread runtime: children ask the kernel to be killed when the thread that spawned them ends.
///
/// # Errors
/// When serving cannot begin: address taken, home in use, programs missing.
pub async fn serve(config: Config) -> Result<(), ServeError> {
    // First of all, so that clients started at the same time are queued instead of refused.
    let listener = bind(&config.host, config.port).map_err(|cause| ServeError::Bind {
        host: config.host.clone(),
        port: config.port,
        cause,
    })?;
    let address = listener.local_addr()?;
    let home = home::Home::take(&config.home)?;
    let kept = config.home.join(kept::NAME);
    let kept =
        kept::Kept::read(kept.clone()).map_err(|problem| ServeError::Settings { path: kept, problem })?;
    let programs = Programs::beside_this()?;
    let own = config.home.join("models");
    // So that there is a place to put models.
    std::fs::create_dir_all(&own)?;
    let named = config
        .models
        .iter()
        .filter(|folder| **folder != own)
        .cloned()
        .chain([own.clone()])
        .map(Store::Folder);
    let others = registry::of_others(|name| {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    });
    let registry = Registry::new(named.chain(others).collect());
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let setup = fleet::Setup {
        registry,
        program: programs.worker,
        run: home.run().to_owned(),
        policy: config.policy,
        kept,
    };
    let fleet = fleet::start(setup, pressure::source());
    let socket = home.run().join(home::CONTROL);
    let calls = ipc_proto::socket::listen(&socket)?;
    let stop = Arc::new(Notify::new());
    let gateway = gateway::start(gateway::Launch {
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
    // Children that are still there are killed as their handles are dropped with the runtime.
    drop(home);
    tracing::info!("stopped");
    Ok(())
}

fn bind(host: &str, port: u16) -> std::io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let address = *addresses.first().ok_or(std::io::ErrorKind::AddrNotAvailable)?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait for connections of the last run to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}
