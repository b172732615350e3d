//! How many requests a worker has, from before they cost anything until they have ended.
//!
//! What was admitted is counted by the places themselves, not by readings of the engine: so no two that come together take
//! the last one, and one is free again before its request's end is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ipc_proto::worker::{ModelKind, Room};
use ipc_proto::{Error, Result};

/// The places; clones share them.
#[derive(Debug, Clone)]
pub struct Places {
    rows: u32,
    waiting: u32,
    held: Arc<AtomicU32>,
}

/// One request's place, given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicU32>);

impl Places {
    /// Places for `rows` requests that generate at once, and for `waiting` more.
    pub fn new(rows: usize, waiting: usize) -> Self {
        let bounded = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Self { rows: bounded(rows), waiting: bounded(waiting), held: Arc::default() }
    }

    /// Takes a place for a request of a model of this kind.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&self, kind: ModelKind) -> Result<Place> {
        let limit = self.limit(kind);
        let one_more = |held| (held < limit).then_some(held + 1);
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.map(|_| Place(Arc::clone(&self.held))).map_err(|_| Error::full(limit))
    }

    /// How many there are and how many are free.
    pub fn room(&self, kind: ModelKind) -> Room {
        let limit = self.limit(kind);
        Room { limit, left: limit.saturating_sub(self.held.load(Ordering::Relaxed)) }
    }

    fn limit(&self, kind: ModelKind) -> u32 {
        match kind {
            ModelKind::Generate => self.rows.saturating_add(self.waiting),
            // Texts of all requests share the steps: there are no rows, but one request is always taken.
            ModelKind::Embed | ModelKind::Rerank => self.waiting.max(1),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
