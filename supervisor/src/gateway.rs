//! Keeps one gateway process running. Replaces it on request, and if it gives no sign of life.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use nix::sys::signal::Signal;
use secrecy::{ExposeSecret, SecretString};
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::backoff::{Backoff, Death};
use crate::child::Child;
use crate::fleet::stopping;
use crate::{document, machine};

mod pulse;

use pulse::Pulse;

/// The gateway inherits the public sockets as these descriptors.
const LISTEN_FDS: [i32; 2] = [3, 5];
/// It reads its settings from this one.
const CONFIG_FD: i32 = 4;

/// The parameters of a start.
pub(crate) struct GatewayLaunch {
    pub(crate) program: PathBuf,
    /// One or two.
    pub(crate) listeners: Vec<TcpListener>,
    /// The supervisor's control socket.
    pub(crate) supervisor: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) settings: GatewaySettings,
}

/// The settings of a gateway and of its replacement.
#[derive(Debug)]
pub(crate) struct GatewaySettings {
    /// The gateway's own, in JSON.
    pub(crate) config: SecretString,
    /// Time that a replaced gateway has to finish its requests.
    pub(crate) drain: Duration,
    /// A gateway without a sign of life for this time is hung.
    pub(crate) hang: Duration,
}

/// A handle to the task that owns the gateway process.
#[derive(Debug, Clone)]
pub(crate) struct Gateway {
    commands: mpsc::UnboundedSender<GatewayCommand>,
    /// The process that connected to the supervisor last. A gateway connects when it is up.
    connected: watch::Sender<u32>,
}

#[derive(Debug)]
enum GatewayCommand {
    /// The process with this id has given a sign of life.
    Beat(u32),
    /// Replace the process and send the outcome.
    Restart(oneshot::Sender<Result<()>>),
    /// Go on with these settings, with another process if that one's own differ, and send the outcome.
    Configure(GatewaySettings, oneshot::Sender<Result<()>>),
    /// End the process, by SIGKILL after this time.
    Stop(Duration, oneshot::Sender<()>),
}

/// A new gateway that survives this time counts as up, even if it has not connected.
const START_LIMIT: Duration = Duration::from_secs(2);
/// A replaced gateway ends by itself after its drain time. After this extra time it is killed.
const OVERDUE: Duration = Duration::from_secs(5);

/// Starts the gateway, and starts it again if it ends.
pub(crate) fn start(launch: GatewayLaunch) -> Gateway {
    let (commands, queue) = mpsc::unbounded_channel();
    let (connected, pids) = watch::channel(0);
    tokio::spawn(supervise(launch, queue, pids));
    Gateway { commands, connected }
}

impl Gateway {
    /// Ends the gateway. Running requests have `grace` to finish.
    pub(crate) async fn stop(&self, grace: Duration) {
        let (done, ended) = oneshot::channel();
        if self.commands.send(GatewayCommand::Stop(grace, done)).is_ok() {
            let _ = ended.await;
        }
    }

    /// Starts another gateway and drains the old one. Both have the socket, so no connection is refused.
    pub(crate) async fn restart(&self) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(GatewayCommand::Restart(done)).map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?
    }

    /// Puts settings in force. If no gateway starts with them, the running one stays as it is.
    pub(crate) async fn configure(&self, settings: GatewaySettings) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(GatewayCommand::Configure(settings, done)).map_err(|_| stopping())?;
        outcome.await.map_err(|_| stopping())?
    }

    /// Records a sign of life.
    pub(crate) fn record_beat(&self, pid: u32) {
        let _ = self.commands.send(GatewayCommand::Beat(pid));
    }

    /// Records a connection to the supervisor.
    pub(crate) fn record_connection(&self, pid: u32) {
        self.connected.send_replace(pid);
    }
}

impl GatewayLaunch {
    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("--lifeline");
        let mut inherited = Vec::new();
        for (listener, child_fd) in self.listeners.iter().zip(LISTEN_FDS) {
            command.arg(format!("--listen-fd={child_fd}"));
            inherited.push(FdMapping { parent_fd: listener.try_clone()?.into(), child_fd });
        }
        command.arg("--supervisor").arg(&self.supervisor).arg("--home").arg(&self.home);
        command.arg("--config").arg(format!("/dev/fd/{CONFIG_FD}"));
        inherited.push(FdMapping {
            parent_fd: document::pipe(&self.settings.config)?.into(),
            child_fd: CONFIG_FD,
        });
        command.fd_mappings(inherited).map_err(std::io::Error::other)?;
        Child::spawn(command, "gateway")
    }
}

async fn supervise(
    mut launch: GatewayLaunch,
    mut commands: mpsc::UnboundedReceiver<GatewayCommand>,
    mut pids: watch::Receiver<u32>,
) {
    let mut backoff = Backoff::default();
    let mut retired = RetiredGateways::default();
    let mut starts = 0;
    loop {
        let started_at = Instant::now();
        let end = match launch.spawn() {
            Ok(child) => {
                match run_until_exit(&mut launch, child, &mut commands, &mut pids, &mut retired).await {
                    Some(end) => end,
                    None => return,
                }
            }
            Err(error) => error.to_string(),
        };
        starts += 1;
        let death = Death { process: starts, lifetime: started_at.elapsed(), steps: 0 };
        let wait = backoff.delay_after(death, Instant::now());
        tracing::error!(end, restart_in_ms = wait.as_millis() as u64, "the gateway ended");
        let waited = tokio::time::sleep(wait);
        tokio::pin!(waited);
        loop {
            tokio::select! {
                () = &mut waited => break,
                command = commands.recv() => match command {
                    // A restart is under way already.
                    Some(GatewayCommand::Restart(reply)) => drop(reply.send(Ok(()))),
                    Some(GatewayCommand::Configure(settings, reply)) => {
                        launch.settings = settings;
                        let _ = reply.send(Ok(()));
                    }
                    Some(GatewayCommand::Stop(grace, done)) => {
                        retired.stop(grace).await;
                        let _ = done.send(());
                        return;
                    }
                    Some(GatewayCommand::Beat(_)) => {}
                    None => return,
                },
            }
        }
    }
}

/// Runs a gateway and its replacements. Returns the exit text if one ends by itself, `None` after a stop.
async fn run_until_exit(
    launch: &mut GatewayLaunch,
    mut child: Child,
    commands: &mut mpsc::UnboundedReceiver<GatewayCommand>,
    pids: &mut watch::Receiver<u32>,
    retired: &mut RetiredGateways,
) -> Option<String> {
    let mut pulse = Pulse::start(launch.settings.hang, Instant::now());
    let mut checks = tokio::time::interval(pulse::CHECK);
    checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // After a pause of this process, the signs of life that came meanwhile count first.
            biased;
            end = child.wait() => return Some(end.text),
            command = commands.recv() => match command {
                Some(GatewayCommand::Beat(pid)) => {
                    if child.id() == Some(pid) {
                        pulse.beat(Instant::now());
                    }
                }
                Some(GatewayCommand::Restart(reply)) => {
                    let outcome = replace(launch, &mut child, pids, retired).await;
                    if outcome.is_ok() {
                        pulse = Pulse::start(launch.settings.hang, Instant::now());
                    }
                    let _ = reply.send(outcome);
                }
                Some(GatewayCommand::Configure(settings, reply)) => {
                    let outcome = reconfigure(launch, settings, &mut child, (pids, retired)).await;
                    if outcome.is_ok() {
                        pulse = Pulse::start(launch.settings.hang, Instant::now());
                    }
                    let _ = reply.send(outcome);
                }
                Some(GatewayCommand::Stop(grace, done)) => {
                    tokio::join!(child.stop(grace), retired.stop(grace));
                    let _ = done.send(());
                    return None;
                }
                None => return None,
            },
            _ = checks.tick() => {
                if pulse.is_hung(Instant::now()) {
                    return Some(end_hung(&mut child).await);
                }
            }
        }
    }
}

/// Starts another gateway and drains the one before it.
async fn replace(
    launch: &GatewayLaunch,
    child: &mut Child,
    pids: &mut watch::Receiver<u32>,
    retired: &mut RetiredGateways,
) -> Result<()> {
    let new = start_successor(launch, pids).await?;
    let old = std::mem::replace(child, new);
    retired.add(old, launch.settings.drain + OVERDUE);
    Ok(())
}

/// Goes on with other settings. A gateway reads its own at its start only, so other ones need another process.
async fn reconfigure(
    launch: &mut GatewayLaunch,
    settings: GatewaySettings,
    child: &mut Child,
    (pids, retired): (&mut watch::Receiver<u32>, &mut RetiredGateways),
) -> Result<()> {
    let before = std::mem::replace(&mut launch.settings, settings);
    if before.config.expose_secret() == launch.settings.config.expose_secret() {
        return Ok(());
    }
    let outcome = replace(launch, child, pids, retired).await;
    if outcome.is_err() {
        launch.settings = before;
    }
    outcome
}

/// Kills a gateway that gives no sign of life. Its connections end, and the next gateway takes new ones.
async fn end_hung(child: &mut Child) -> String {
    let pid = child.id().unwrap_or_default();
    let threads = machine::threads(pid).await;
    tracing::error!(pid, threads, "the gateway hangs: what its threads are doing, before it is killed");
    child.signal(Signal::SIGKILL);
    format!("{} (it gave no sign of life)", child.wait().await.text)
}

/// Replaced gateways that still have requests.
#[derive(Debug, Default)]
struct RetiredGateways {
    tasks: JoinSet<()>,
    /// The time that they have left, once the server stops.
    deadline: watch::Sender<Option<Duration>>,
}

impl RetiredGateways {
    fn add(&mut self, mut old: Child, grace: Duration) {
        while self.tasks.try_join_next().is_some() {}
        let mut deadline = self.deadline.subscribe();
        self.tasks.spawn(async move {
            let left = async { deadline.wait_for(Option::is_some).await.ok().and_then(|left| *left) };
            old.retire(grace, async { left.await.unwrap_or_default() }).await;
        });
    }

    async fn stop(&mut self, grace: Duration) {
        self.deadline.send_replace(Some(grace));
        while self.tasks.join_next().await.is_some() {}
    }
}

/// Starts a gateway beside the running one. Returns when it is up.
async fn start_successor(launch: &GatewayLaunch, pids: &mut watch::Receiver<u32>) -> Result<Child> {
    let failed = |text: String| {
        let text = format!("the new gateway does not start, the old one stays: {text}");
        Error::new(ErrorKind::Internal, Origin::Supervisor, text)
    };
    let mut new = launch.spawn().map_err(|e| failed(e.to_string()))?;
    let id = new.id().unwrap_or_default();
    let up = tokio::time::timeout(START_LIMIT, pids.wait_for(|pid| *pid == id));
    tokio::select! {
        _ = up => Ok(new),
        end = new.wait() => Err(failed(end.text)),
    }
}

#[cfg(test)]
mod tests;
