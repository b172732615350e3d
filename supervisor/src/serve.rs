//! Puts the parts together, serves, and stops them in order.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::child::Programs;
use crate::overrides::{self, SettingsOverrides};
use crate::registry::{self, Store};
use crate::{Config, ServeError, fleet, gateway, home, pressure, rpc};

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
        config: config.gateway,
        drain: Duration::from_secs(config.drain_seconds.into()),
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
