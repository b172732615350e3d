//! Requests that are being tokenised or are on their way to the engine.
//!
//! They count as waiting, so that a flood is refused before it costs anything. They can be cancelled before the engine
//! receives them.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipc_proto::generate::ChoiceId;
use ipc_proto::stream::StreamId;

type Key = (StreamId, ChoiceId);

/// The set of arriving requests; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Arrivals(Arc<Mutex<HashSet<Key>>>);

/// One request's entry in the set; dropping it removes the entry.
#[derive(Debug)]
pub struct Arrival {
    all: Arrivals,
    key: Key,
}

impl Arrivals {
    /// Adds a request; `None` if its id is already present.
    pub fn enter(&self, stream: StreamId, id: ChoiceId) -> Option<Arrival> {
        let key = (stream, id);
        self.lock().insert(key).then(|| Arrival { all: self.clone(), key })
    }

    /// Whether one of these requests is still there and not cancelled, as a test for other threads.
    pub fn watch(&self, arrivals: &[Arrival]) -> impl Fn() -> bool + Send + 'static {
        let (all, keys) = (self.clone(), arrivals.iter().map(|arrival| arrival.key).collect::<Vec<_>>());
        move || {
            let all = all.lock();
            keys.iter().any(|key| all.contains(key))
        }
    }

    /// Number of arriving requests.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Marks a request as cancelled. The engine cancels requests that have left this set.
    pub fn cancel(&self, stream: StreamId, id: ChoiceId) {
        self.lock().remove(&(stream, id));
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Arrival {
    /// False after [`Arrivals::cancel`].
    pub fn is_wanted(&self) -> bool {
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
