//! Requests that are being tokenised or are on their way to the engine.
//!
//! They count as waiting, so that a flood is refused before it costs anything, and they can be cancelled before the
//! engine has heard of them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipc_proto::generate::RequestId;
use ipc_proto::stream::StreamId;

type Key = (StreamId, RequestId);

/// The requests that have arrived; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Mutex<HashSet<Key>>>);

/// One request's place among them, given up when dropped.
#[derive(Debug)]
pub struct Arrival {
    all: Arrivals,
    key: Key,
}

impl Arrivals {
    /// Enters a request; `None` when one of that name is there already.
    pub fn enter(&self, stream: StreamId, id: RequestId) -> Option<Arrival> {
        let key = (stream, id);
        self.lock().insert(key).then(|| Arrival { all: self.clone(), key })
    }

    /// Requests entered.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Marks a request as unwanted. One that is not here is the engine's to cancel.
    pub fn cancel(&self, stream: StreamId, id: RequestId) {
        self.lock().remove(&(stream, id));
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    /// False once the request was cancelled.
    pub fn wanted(&self) -> bool {
        self.all.lock().contains(&self.key)
    }
}

impl Drop for Arrival {
    fn drop(&mut self) {
        self.all.lock().remove(&self.key);
    }
}

#[cfg(test)]
mod tests;
