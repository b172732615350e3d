//! Limits the number of requests in a worker, from before they cost anything until they have ended.
//!
//! The permits themselves are counted, not the requests in the engine. So two simultaneous requests cannot both take the
//! last permit, and a permit is free before the client learns that its request has ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ipc_proto::worker::{Capacity, ModelKind};
use ipc_proto::{Error, Result};

/// Hands out permits; clones share the count.
#[derive(Debug, Clone)]
pub struct AdmissionLimits {
    rows: u32,
    waiting: u32,
    held: Arc<AtomicU32>,
}

/// Admits one request; dropping it frees the slot.
#[derive(Debug)]
pub struct AdmissionPermit(Arc<AtomicU32>);

impl AdmissionLimits {
    /// Allows `rows` running and `waiting` more requests.
    pub fn new(rows: usize, waiting: usize) -> Self {
        let bounded = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Self { rows: bounded(rows), waiting: bounded(waiting), held: Arc::default() }
    }

    /// Takes `count` permits for requests to a model of this kind, or none.
    ///
    /// # Errors
    /// [`Error::full`] when fewer permits are free.
    pub fn acquire(&self, kind: ModelKind, count: u32) -> Result<Vec<AdmissionPermit>> {
        let limit = self.limit(kind);
        let more = |held: u32| held.checked_add(count).filter(|held| *held <= limit);
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map_err(|held| Error::full(Capacity { limit, free: limit.saturating_sub(held) }, count))?;
        Ok((0..count).map(|_| AdmissionPermit(Arc::clone(&self.held))).collect())
    }

    /// Permits in total and free.
    pub fn capacity(&self, kind: ModelKind) -> Capacity {
        let limit = self.limit(kind);
        Capacity { limit, free: limit.saturating_sub(self.held.load(Ordering::Relaxed)) }
    }

    fn limit(&self, kind: ModelKind) -> u32 {
        match kind {
            ModelKind::Generate => self.rows.saturating_add(self.waiting),
            // Encoders have no rows: all texts share the steps. At least one request is always admitted.
            ModelKind::Embed | ModelKind::Rerank => self.waiting.max(1),
        }
    }
}

impl Drop for AdmissionPermit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
