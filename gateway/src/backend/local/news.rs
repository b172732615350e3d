//! What the supervisor tells of its workers, as it happens: the links follow it, and whoever listens hears it.

use std::sync::Arc;
use std::time::Duration;

use ipc_proto::Result;
use ipc_proto::supervisor::{Change, Changes};
use tokio::sync::broadcast;

use super::{Local, deadline};

/// The supervisor answers after some 20 s at the latest.
const WATCH_DEADLINE: Duration = Duration::from_secs(60);
/// Between tries while it does not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Changes that may wait for a slow listener, who is told that he missed some then.
pub(super) const CHANGES_AHEAD: usize = 256;

/// What is told.
#[derive(Debug, Clone)]
pub enum News {
    /// One model changed.
    Change(Change),
    /// Something changed that is not told: all is to be asked for again.
    Missed,
    /// The server ends.
    End,
}

impl Local {
    /// Follows the supervisor, for ever.
    pub async fn follow(self: Arc<Self>) {
        let mut revision = 0;
        loop {
            match self.changes(revision).await {
                Ok(changes) => {
                    let restarted = changes.revision < revision;
                    revision = changes.revision;
                    self.apply_changes(changes, restarted);
                }
                Err(error) => {
                    tracing::debug!(%error, "no news of the supervisor");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Hears of changes from now on.
    pub fn listen(&self) -> broadcast::Receiver<News> {
        self.news.subscribe()
    }

    /// Nothing more is told.
    pub fn end_news(&self) {
        let _ = self.news.send(News::End);
    }

    async fn changes(&self, revision: u64) -> Result<Changes> {
        let client = self.supervisor().await?;
        client.watch(deadline(WATCH_DEADLINE), revision).await.map_err(|e| super::unreachable(&e))
    }

    /// Requests that come go where the change says. Aliases may lead elsewhere since: they are asked for again.
    fn follow_change(&self, change: &Change) {
        let mut pools = self.pools();
        if let Some(pool) = pools.get(&change.model).cloned() {
            pool.know(change.ready.clone());
            pools.retain(|name, other| *name == change.model || !Arc::ptr_eq(other, &pool));
        }
    }

    fn apply_changes(&self, changes: Changes, restarted: bool) {
        if changes.lost || restarted {
            // Links to workers that are gone end by themselves.
            let _ = self.news.send(News::Missed);
        }
        for change in changes.changes {
            self.follow_change(&change);
            // An error means that nobody listens.
            let _ = self.news.send(News::Change(change));
        }
    }
}
