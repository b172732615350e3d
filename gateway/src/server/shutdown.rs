//! How a gateway ends: it takes nothing new, lets what runs come to its end, and tells in time who does not.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

use crate::dispatch::Dispatcher;
use crate::fleet::watch::FleetWatch;

/// How long running requests get at SIGTERM; the supervisor waits a little longer.
const GRACE: Duration = Duration::from_secs(4);
/// What was accepted just before another gateway took over gets so long to say what it wants.
const SETTLE: Duration = Duration::from_millis(500);
/// How long requests that are ended have to tell their clients.
const LAST_WORDS: Duration = Duration::from_millis(250);

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It serves.
    Serving,
    /// It takes nothing new.
    Draining,
    /// What still runs is cut off.
    Over,
}

/// What ends it: SIGTERM, or SIGHUP when another gateway takes the new requests.
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

    /// Waits for a signal, then ends everything in order. `gate` closes. Requests that still run fail after a grace period, which
    /// is `drain` at SIGHUP. A SIGTERM after that shortens it.
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
            sleep(SETTLE).await;
        }
        watch.end();
        stage.send_replace(Stage::Draining);
        let in_time = async {
            tokio::select! {
                () = sleep(drain) => {}
                _ = self.terminate.recv() => sleep(GRACE).await,
            }
        };
        if replaced {
            in_time.await
        } else {
            sleep(GRACE).await
        }
        dispatcher.stop();
        sleep(LAST_WORDS).await;
        stage.send_replace(Stage::Over);
    }
}
