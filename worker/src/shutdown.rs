//! How a worker ends: told by a signal, after a bounded drain.

use std::sync::mpsc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::engine::command::Command;
use crate::engine_thread::Ended;
use crate::rpc::Server;

/// How long a step that is under way may take at the very end, and frames to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Lets running requests end, for a while; then fails them; either way the gateways hear of it.
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
        timeout(LAST_WORDS, ended).await.ok();
    }
    timeout(LAST_WORDS, server.flushed()).await.ok();
}

/// Returns at SIGTERM, or at Ctrl-C: which reaches the whole process group, so under a supervisor it is the supervisor's to handle.
///
/// # Errors
/// When signals cannot be watched.
pub async fn told_to_stop(supervised: bool) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => if !supervised { return Ok(()) },
        }
    }
}
