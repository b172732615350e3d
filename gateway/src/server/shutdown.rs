//! Shutdown in stages: stop accepting, drain running requests, fail those that do not end in time.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::dispatch::Dispatcher;
use crate::fleet::watch::FleetWatch;

/// Time for running requests after SIGTERM. The supervisor waits a little longer.
const GRACE: Duration = Duration::from_secs(4);
/// Time for connections that were accepted just before the replacement to send their request.
const FIRST_REQUEST: Duration = Duration::from_millis(500);
/// Time for failed requests to send the failure to their clients.
const FAILURE_DELIVERY: Duration = Duration::from_millis(250);

/// The stage of a shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Accepts requests.
    Serving,
    /// Accepts no new requests.
    Draining,
    /// Aborts the requests that still run.
    Over,
}

/// Waits until the gateway drains.
pub async fn draining(mut stage: watch::Receiver<Stage>) {
    // The result holds a lock.
    drop(stage.wait_for(|stage| *stage >= Stage::Draining).await);
}

/// The signals that end the gateway: SIGTERM, and SIGHUP after another gateway has taken over.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    replaced: Signal,
}

impl Signals {
    /// Installs the handlers.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, replaced: signal(SignalKind::hangup())? })
    }

    /// Waits for a signal, then shuts down. Sets `gate` to true, which closes the listener. Requests that still run fail after a
    /// grace period, which is `drain` after SIGHUP. A later SIGTERM shortens it.
    pub async fn handle(
        mut self,
        gate: watch::Sender<bool>,
        (dispatcher, watch): (Arc<Dispatcher>, FleetWatch),
        drain: Duration,
        stage: watch::Sender<Stage>,
    ) {
        let replaced = tokio::select! {
            _ = self.terminate.recv() => false,
            _ = self.replaced.recv() => true,
        };
        gate.send_replace(true);
        if replaced {
            sleep(FIRST_REQUEST).await;
        }
        watch.end();
        stage.send_replace(Stage::Draining);
        if replaced {
            tokio::select! {
                () = sleep(drain) => {}
                _ = self.terminate.recv() => sleep(GRACE).await,
            }
        } else {
            sleep(GRACE).await;
        }
        dispatcher.stop();
        sleep(FAILURE_DELIVERY).await;
        stage.send_replace(Stage::Over);
    }
}
