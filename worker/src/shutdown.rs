//! Shutdown: a signal, then a bounded drain.

use std::sync::mpsc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::engine::command::Command;
use crate::engine_thread::Ended;
use crate::rpc::Server;

/// Time for the current step to end, and then for the last frames to be written.
const FINAL_FLUSH: Duration = Duration::from_secs(2);

/// Waits up to `patience` for running requests, then fails the rest. The gateways receive all final events.
pub async fn drain(
    commands: &mpsc::Sender<Command>,
    ended: &mut oneshot::Receiver<Ended>,
    server: &Server,
    patience: Duration,
) {
    tracing::info!("draining");
    server.close();
    commands.send(Command::Drain).ok();
    if timeout(patience, &mut *ended).await.is_err() {
        commands.send(Command::Stop).ok();
        timeout(FINAL_FLUSH, ended).await.ok();
    }
    timeout(FINAL_FLUSH, server.flushed()).await.ok();
}

/// Returns at SIGTERM or, unless `supervised`, at SIGINT.
///
/// Ctrl-C sends SIGINT to the whole process group, so under a supervisor only the supervisor handles it.
///
/// # Errors
/// When no signal handler can be installed.
pub async fn stop_signal(supervised: bool) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => if !supervised { return Ok(()) },
        }
    }
}
