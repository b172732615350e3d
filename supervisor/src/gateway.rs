//! Keeps one gateway running.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use ipc_proto::{Error, ErrorKind, Result, Source};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::Secret;
use crate::backoff::Backoff;
use crate::child::Child;

/// The descriptor under which the gateway finds the public socket.
const LISTEN_FD: i32 = 3;

/// How to start it.
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) listener: TcpListener,
    pub(crate) supervisor: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) api_keys: Secret,
    pub(crate) recoveries: Option<u32>,
    pub(crate) drain_seconds: u32,
    pub(crate) response_days: Option<u32>,
    pub(crate) cors_origins: Option<String>,
}

/// A handle to the task that keeps it running.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    orders: mpsc::UnboundedSender<Order>,
    /// Who connected to the supervisor last: a gateway does so when it is up.
    connected: watch::Sender<u32>,
}

#[derive(Debug)]
enum Order {
    /// Replace it, and say how that went.
    Restart(oneshot::Sender<Result<()>>),
    /// End it, in time if it will.
    Stop(Duration, oneshot::Sender<()>),
}

/// A new gateway that has not connected by then, but lives, is taken to be up.
const UP: Duration = Duration::from_secs(2);
/// A gateway that was replaced ends by itself when the time of its requests is over. One that has not so much later is killed.
const OVERDUE: Duration = Duration::from_secs(5);

/// Starts it, and again whenever it ends.
pub(crate) fn start(launch: Launch) -> Gateway {
    let (orders, queue) = mpsc::unbounded_channel();
    let (connected, pids) = watch::channel(0);
    tokio::spawn(keep(launch, queue, pids));
    Gateway { orders, connected }
}

impl Gateway {
    /// Lets running requests finish within `grace`, then ends it.
    pub(crate) async fn stop(&self, grace: Duration) {
        let (done, ended) = oneshot::channel();
        if self.orders.send(Order::Stop(grace, done)).is_ok() {
            let _ = ended.await;
        }
    }

    /// Starts another and lets the old one's requests finish. No connection is refused meanwhile: both have the socket.
    pub(crate) async fn restart(&self) -> Result<()> {
        let stopping = || Error::new(ErrorKind::Unavailable, Source::Supervisor, "the server is stopping");
        let (done, outcome) = oneshot::channel();
        self.orders.send(Order::Restart(done)).map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?
    }

    /// Somebody has connected to the supervisor.
    pub(crate) fn connected(&self, pid: u32) {
        self.connected.send_replace(pid);
    }
}

impl Launch {
    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("--lifeline").arg("--listen-fd").arg(LISTEN_FD.to_string());
        command.arg("--supervisor").arg(&self.supervisor).arg("--home").arg(&self.home);
        command.arg("--drain-seconds").arg(self.drain_seconds.to_string());
        if let Some(recoveries) = self.recoveries {
            command.arg("--recoveries").arg(recoveries.to_string());
        }
        if let Some(days) = self.response_days {
            command.arg("--response-days").arg(days.to_string());
        }
        if let Some(origins) = &self.cors_origins {
            command.env("MLXD_CORS_ORIGINS", origins);
        }
        // By environment: anybody may read a command line.
        command.env("MLXD_API_KEYS", self.api_keys.reveal());
        let socket = OwnedFd::from(self.listener.try_clone()?);
        let mapping = FdMapping { parent_fd: socket, child_fd: LISTEN_FD };
        command.fd_mappings(vec![mapping]).map_err(std::io::Error::other)?;
        Child::spawn(command, "gateway")
    }
}

async fn keep(launch: Launch, mut orders: mpsc::UnboundedReceiver<Order>, mut pids: watch::Receiver<u32>) {
    let mut backoff = Backoff::default();
    let mut retired = Retired::default();
    loop {
        let born = Instant::now();
        let end = match launch.spawn() {
            Ok(child) => match life(&launch, child, &mut orders, &mut pids, &mut retired).await {
                Some(end) => end,
                None => return,
            },
            Err(error) => error.to_string(),
        };
        let wait = backoff.after(born.elapsed());
        tracing::error!(end, restart_in_ms = wait.as_millis() as u64, "the gateway ended");
        let waited = tokio::time::sleep(wait);
        tokio::pin!(waited);
        loop {
            tokio::select! {
                () = &mut waited => break,
                order = orders.recv() => match order {
                    // It is being restarted.
                    Some(Order::Restart(reply)) => drop(reply.send(Ok(()))),
                    Some(Order::Stop(grace, done)) => {
                        retired.stop(grace).await;
                        let _ = done.send(());
                        return;
                    }
                    None => return,
                },
            }
        }
    }
}

/// Watches over a gateway and those that take its place, until the last of them ends by itself; `None` when it was told to.
async fn life(
    launch: &Launch,
    mut child: Child,
    orders: &mut mpsc::UnboundedReceiver<Order>,
    pids: &mut watch::Receiver<u32>,
    retired: &mut Retired,
) -> Option<String> {
    loop {
        tokio::select! {
            end = child.wait() => return Some(end.text),
            order = orders.recv() => match order {
                Some(Order::Restart(reply)) => {
                    let outcome = successor(launch, pids).await.map(|new| {
                        let old = std::mem::replace(&mut child, new);
                        retired.add(old, Duration::from_secs(launch.drain_seconds.into()) + OVERDUE);
                    });
                    let _ = reply.send(outcome);
                }
                Some(Order::Stop(grace, done)) => {
                    tokio::join!(child.stop(grace), retired.stop(grace));
                    let _ = done.send(());
                    return None;
                }
                None => return None,
            }
        }
    }
}

/// Gateways whose places others have taken, and that still have requests.
#[derive(Debug, Default)]
struct Retired {
    tasks: JoinSet<()>,
    /// How long they have left, once the server stops.
    hurry: watch::Sender<Option<Duration>>,
}

impl Retired {
    fn add(&mut self, mut old: Child, grace: Duration) {
        while self.tasks.try_join_next().is_some() {}
        let mut hurry = self.hurry.subscribe();
        self.tasks.spawn(async move {
            let left = async { hurry.wait_for(Option::is_some).await.ok().and_then(|left| *left) };
            old.retire(grace, async { left.await.unwrap_or_default() }).await;
        });
    }

    async fn stop(&mut self, grace: Duration) {
        self.hurry.send_replace(Some(grace));
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A gateway beside the one that runs, once it is up.
async fn successor(launch: &Launch, pids: &mut watch::Receiver<u32>) -> Result<Child> {
    let failed = |text: String| {
        let text = format!("the new gateway does not start, the old one stays: {text}");
        Error::new(ErrorKind::Internal, Source::Supervisor, text)
    };
    let mut new = launch.spawn().map_err(|e| failed(e.to_string()))?;
    let id = new.id().unwrap_or_default();
    let up = tokio::time::timeout(UP, pids.wait_for(|pid| *pid == id));
    tokio::select! {
        _ = up => Ok(new),
        end = new.wait() => Err(failed(end.text)),
    }
}
