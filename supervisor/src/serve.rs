//! Puts the parts together, serves, and stops them in order.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::Notify;

use crate::child::Programs;
use crate::external::Externals;
use crate::live::{Live, SettingsFile};
use crate::overrides::{self, SettingsOverrides};
use crate::registry::{self, ModelSource, Store, Summaries};
use crate::signals::StopSignals;
use crate::{Config, ServeError, descriptors, fleet, gateway, home, hub, machine, pressure, rpc};

/// The host that stands for both families.
const LOCALHOST: &str = "localhost";
/// Time that running requests have to finish when the server stops.
const GATEWAY_GRACE: Duration = Duration::from_secs(5);
/// Time that a worker has after the gateway has ended. Its tokens have no reader by then.
const WORKER_GRACE: Duration = Duration::from_secs(2);

/// Time that the hub process has to write its list.
const HUB_GRACE: Duration = Duration::from_secs(2);

/// Time for the whole stop. A disk or driver that hangs may keep a killed process for ever.
const STOP_LIMIT: Duration = Duration::from_millis(6500);

/// Serves until SIGTERM, SIGINT or SIGHUP, then stops all processes in order. A second signal kills them at once. `file` is where the
/// settings come from. `listening` gets the address once clients can connect, and must not block.
///
/// Needs a current-thread runtime: the kernel kills children when the thread that spawned them ends.
///
/// # Errors
/// The server cannot start: the address is taken, the home is in use, or a program is missing.
pub async fn serve(
    config: Config,
    file: Arc<dyn SettingsFile>,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), ServeError> {
    descriptors::raise_limit();
    // First of the rest: the kernel then queues early clients instead of refusing them.
    let listeners = bind(&config.host, config.port).map_err(|cause| ServeError::Bind {
        host: config.host.clone(),
        port: config.port,
        cause,
    })?;
    let addresses = listeners.iter().map(|listener| Ok(format!("http://{}", listener.local_addr()?)));
    let addresses = addresses.collect::<std::io::Result<Vec<_>>>()?.join(" and ");
    let home = home::Home::lock(&config.home)?;
    let settings = config.home.join(overrides::FILE_NAME);
    let overrides = SettingsOverrides::load(settings.clone())
        .map_err(|problem| ServeError::Settings { path: settings, problem })?;
    let programs = Programs::beside_this()?;
    std::fs::create_dir_all(own_models(&config))?;
    let stores = model_stores(&config);
    let mut signals = StopSignals::listen()?;
    let hang = Duration::from_secs(config.policy.hang_seconds.into());
    let budget = match config.policy.memory {
        Some(bytes) => bytes,
        None => machine::default_budget(&programs.worker).await,
    };
    let externals = Externals::new(programs.runner, config.externals);
    let fleet = fleet::start(fleet::FleetSetup {
        sources: sources(&externals, stores, &config.home),
        program: programs.worker.clone(),
        externals,
        run: home.run().to_owned(),
        budget,
        policy: config.policy,
        overrides,
        pressure: pressure::probe(),
    })?;
    let hub = hub::start(hub::HubLaunch {
        program: programs.hub,
        socket: home.run().join(home::HUB_SOCKET),
        home: config.home.clone(),
        config: config.hub,
        budget,
    });
    let socket = home.run().join(home::CONTROL_SOCKET);
    let calls = ipc_proto::socket::listen(&socket)?;
    let first = listeners.first().map(TcpListener::local_addr).transpose()?;
    if let Some(address) = first {
        home.write_address(address)?;
    }
    let stop = Arc::new(Notify::new());
    let gateway = gateway::start(gateway::GatewayLaunch {
        program: programs.gateway,
        listeners: listeners.into_iter().map(TcpListener::into_std).collect::<Result<_, _>>()?,
        supervisor: socket,
        home: config.home,
        settings: gateway::GatewaySettings {
            config: config.gateway,
            drain: Duration::from_secs(config.drain_seconds.into()),
            hang,
        },
    });
    let live = Live::new(file, programs.worker, (&fleet, &gateway, &hub));
    let services = rpc::Services { fleet, gateway, hub, live, stop: Arc::clone(&stop) };
    tokio::spawn(rpc::serve(calls, services.clone()));
    tracing::info!("mlxd is listening on {addresses}");
    if let Some(address) = first {
        listening(address);
    }
    tokio::select! {
        () = signals.next() => {}
        () = stop.notified() => {}
    }
    tracing::info!("stopping (a second signal stops at once)");
    stop_processes(&services, &mut signals).await;
    // Dropping the runtime kills the remaining children.
    drop(home);
    tracing::info!("stopped");
    Ok(())
}

/// Ends all processes. A signal cuts it short.
async fn stop_processes(services: &rpc::Services, signals: &mut StopSignals) {
    let rpc::Services { fleet, gateway, hub, .. } = services;
    tokio::select! {
        () = async {
            tokio::join!(gateway.stop(GATEWAY_GRACE), hub.stop(HUB_GRACE));
            fleet.stop(WORKER_GRACE).await;
        } => {}
        () = signals.next() => {}
        () = tokio::time::sleep(STOP_LIMIT) => tracing::error!("a process does not end: it is left behind"),
    }
}

/// The models of backends, and those of the stores. The gateway takes names for those of backends first.
fn sources(externals: &Externals, stores: Vec<Store>, home: &Path) -> Vec<Box<dyn ModelSource>> {
    let stored = registry::sources(stores, &Arc::new(Summaries::of(home)));
    externals.source(home).into_iter().chain(stored).collect()
}

/// The home's folder for models.
fn own_models(config: &Config) -> PathBuf {
    config.home.join("models")
}

/// The model stores in order of precedence.
pub(crate) fn model_stores(config: &Config) -> Vec<Store> {
    let own = own_models(config);
    let mut folders: Vec<PathBuf> = config.models.iter().filter(|folder| **folder != own).cloned().collect();
    folders.push(own);
    let mut stores: Vec<Store> = folders.into_iter().map(Store::Folder).collect();
    stores.extend(registry::stores_of_other_programs(|name| {
        std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }));
    stores
}

/// Listens on the first address of a host, and on both families of `localhost`: some clients try only one.
fn bind(host: &str, port: u16) -> std::io::Result<Vec<TcpListener>> {
    if host != LOCALHOST {
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        let address = *addresses.first().ok_or(ErrorKind::AddrNotAvailable)?;
        return Ok(vec![listen(address)?]);
    }
    let first = listen((Ipv4Addr::LOCALHOST, port).into());
    // A port chosen by the system may be taken in the other family.
    let chosen = port == 0;
    let port = first.as_ref().ok().and_then(|first| first.local_addr().ok()).map_or(port, |at| at.port());
    match (first, listen((Ipv6Addr::LOCALHOST, port).into())) {
        (Ok(first), Ok(second)) => Ok(vec![first, second]),
        (Ok(only), Err(error)) if chosen || is_family_missing(&error) => Ok(vec![only]),
        (Err(error), Ok(only)) if is_family_missing(&error) => Ok(vec![only]),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// Whether the machine has no address of this family.
fn is_family_missing(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart must not wait until the last run's connections have timed out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}
