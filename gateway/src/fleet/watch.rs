//! Follows the supervisor's changes, and those of downloads, and distributes them to subscribers.

use std::sync::Arc;
use std::time::Duration;

use ipc_proto::hub::Download;
use ipc_proto::supervisor::{Change, Changes};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, watch};

use super::FleetClient;

/// Pause between tries while the supervisor does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Changes that may wait for a slow subscriber. A subscriber that falls further behind misses some.
const QUEUE_CHANGES: usize = 256;

/// A message to a subscriber.
#[derive(Debug, Clone)]
pub enum FleetEvent {
    /// One model changed.
    Change(Change),
    /// Changes were lost: the subscriber must request the full state again.
    Missed,
    /// The server shuts down.
    End,
}

/// Distributes the supervisor's changes; clones share the subscribers.
#[derive(Debug, Clone)]
pub struct FleetWatch {
    events: broadcast::Sender<FleetEvent>,
    downloads: watch::Sender<Arc<[Download]>>,
}

impl Default for FleetWatch {
    fn default() -> Self {
        Self { events: broadcast::Sender::new(QUEUE_CHANGES), downloads: watch::Sender::new(Arc::new([])) }
    }
}

impl FleetWatch {
    /// Receives every change from now on.
    pub fn subscribe(&self) -> broadcast::Receiver<FleetEvent> {
        self.events.subscribe()
    }

    /// Returns when `events` say that the server shuts down.
    pub async fn ended(mut events: broadcast::Receiver<FleetEvent>) {
        while !matches!(events.recv().await, Ok(FleetEvent::End) | Err(RecvError::Closed)) {}
    }

    /// The downloads, which change twice a second at most.
    pub fn downloads(&self) -> watch::Receiver<Arc<[Download]>> {
        self.downloads.subscribe()
    }

    /// Notifies all subscribers that the server shuts down.
    pub fn end(&self) {
        self.send(FleetEvent::End);
    }

    /// Follows the supervisor; never returns. Calls `apply` with each change before the subscribers get it.
    pub async fn follow(self, fleet: Arc<FleetClient>, apply: impl Fn(&Change)) {
        tokio::join!(self.follow_models(&fleet, apply), self.follow_downloads(&fleet));
    }

    async fn follow_models(&self, fleet: &FleetClient, apply: impl Fn(&Change)) {
        let mut revision = 0;
        loop {
            match fleet.changes(revision).await {
                Ok(changes) => {
                    let restarted = changes.revision < revision;
                    revision = changes.revision;
                    self.distribute(changes, restarted, &apply);
                }
                Err(error) => {
                    tracing::debug!(%error, "the supervisor sends no changes");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn follow_downloads(&self, fleet: &FleetClient) {
        let mut revision = 0;
        loop {
            match fleet.watch_downloads(revision).await {
                Ok(now) if now.revision == revision => {}
                Ok(now) => {
                    revision = now.revision;
                    self.downloads.send_replace(now.downloads.into());
                }
                Err(error) => {
                    tracing::debug!(%error, "the supervisor sends no downloads");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    fn distribute(&self, changes: Changes, restarted: bool, apply: impl Fn(&Change)) {
        if changes.lost || restarted {
            self.send(FleetEvent::Missed);
        }
        for change in changes.changes {
            apply(&change);
            self.send(FleetEvent::Change(change));
        }
    }

    fn send(&self, event: FleetEvent) {
        // An error means that there is no subscriber.
        let _ = self.events.send(event);
    }
}
