//! Keeps one gateway running.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use tokio::process::Command;
use tokio::sync::oneshot;

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
}

/// The task that keeps it running.
pub(crate) struct Gateway {
    stop: oneshot::Sender<(Duration, oneshot::Sender<()>)>,
}

/// Starts it, and again whenever it ends.
pub(crate) fn start(launch: Launch) -> Gateway {
    let (stop, stopped) = oneshot::channel();
    tokio::spawn(keep(launch, stopped));
    Gateway { stop }
}

impl Gateway {
    /// Lets running requests finish within `grace`, then ends it.
    pub(crate) async fn stop(self, grace: Duration) {
        let (done, ended) = oneshot::channel();
        if self.stop.send((grace, done)).is_ok() {
            let _ = ended.await;
        }
    }
}

impl Launch {
    fn spawn(&self) -> std::io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.arg("--lifeline").arg("--listen-fd").arg(LISTEN_FD.to_string());
        command.arg("--supervisor").arg(&self.supervisor).arg("--home").arg(&self.home);
        // By environment: anybody may read a command line.
        command.env("MLXD_API_KEYS", self.api_keys.reveal());
        let socket = OwnedFd::from(self.listener.try_clone()?);
        let mapping = FdMapping { parent_fd: socket, child_fd: LISTEN_FD };
        command.fd_mappings(vec![mapping]).map_err(std::io::Error::other)?;
        Child::spawn(command, "gateway")
    }
}

async fn keep(launch: Launch, mut stopped: oneshot::Receiver<(Duration, oneshot::Sender<()>)>) {
    let mut backoff = Backoff::default();
    loop {
        let born = Instant::now();
        let end = match launch.spawn() {
            Ok(mut child) => tokio::select! {
                end = child.wait() => end,
                order = &mut stopped => {
                    if let Ok((grace, done)) = order {
                        child.stop(grace).await;
                        let _ = done.send(());
                    }
                    return;
                }
            },
            Err(error) => error.to_string(),
        };
        let wait = backoff.after(born.elapsed());
        tracing::error!(end, restart_in_ms = wait.as_millis() as u64, "the gateway ended");
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            order = &mut stopped => {
                if let Ok((_, done)) = order {
                    let _ = done.send(());
                }
                return;
            }
        }
    }
}
