//! Limits the number of requests in a worker, from before they cost anything until they have ended.
//!
//! The permits themselves are counted, not the requests in the engine. So two simultaneous requests cannot both take the
//! last permit, and a permit is free before the client learns that its request has ended.
//!
//! One API key never has all permits, so that its queue does not keep the others out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipc_proto::worker::{Capacity, ModelKind};
use ipc_proto::{Error, ErrorKind, Origin, Result};

/// The part of the permits that one API key leaves to others.
const LEFT_TO_OTHERS: u32 = 8;

/// Hands out permits; clones share the count.
#[derive(Debug, Clone)]
pub struct AdmissionLimits {
    rows: u32,
    waiting: u32,
    held: Arc<Mutex<Held>>,
}

/// The permits that are held.
#[derive(Debug, Default)]
struct Held {
    all: u32,
    /// Those of each API key that has some.
    by_tenant: HashMap<u64, u32>,
}

/// Admits one request; dropping it frees the slot.
#[derive(Debug)]
pub struct AdmissionPermit {
    tenant: u64,
    held: Arc<Mutex<Held>>,
}

impl AdmissionLimits {
    /// Allows `rows` running and `waiting` more requests.
    pub fn new(rows: usize, waiting: usize) -> Self {
        let bounded = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Self { rows: bounded(rows), waiting: bounded(waiting), held: Arc::default() }
    }

    /// Takes `count` permits for requests of a tenant to a model of this kind, or none. Tenant 0 has no API key.
    ///
    /// # Errors
    /// [`Error::full`] when fewer permits are free, and an error of the same kind when the tenant holds too many.
    pub fn acquire(&self, kind: ModelKind, count: u32, tenant: u64) -> Result<Vec<AdmissionPermit>> {
        let limit = self.limit(kind);
        let mut held = lock(&self.held);
        let free = limit.saturating_sub(held.all);
        if count > free {
            return Err(Error::full(Capacity { limit, free }, count));
        }
        if tenant != 0 {
            let most = limit - limit / LEFT_TO_OTHERS;
            let own = held.by_tenant.entry(tenant).or_default();
            if *own > 0 && *own + count > most {
                return Err(tenant_full(*own, Capacity { limit, free }));
            }
            *own += count;
        }
        held.all += count;
        Ok((0..count).map(|_| AdmissionPermit { tenant, held: Arc::clone(&self.held) }).collect())
    }

    /// Permits in total and free.
    pub fn capacity(&self, kind: ModelKind) -> Capacity {
        let limit = self.limit(kind);
        Capacity { limit, free: limit.saturating_sub(lock(&self.held).all) }
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
        let mut held = lock(&self.held);
        held.all -= 1;
        if let Some(own) = held.by_tenant.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                held.by_tenant.remove(&self.tenant);
            }
        }
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The refusal of a tenant that holds `own` permits.
fn tenant_full(own: u32, capacity: Capacity) -> Error {
    let text = format!(
        "{own} requests of this API key run or wait for this model already; the rest of its {} places is for other keys",
        capacity.limit
    );
    Error { capacity: Some(capacity), ..Error::new(ErrorKind::Overloaded, Origin::Worker, text) }
}

#[cfg(test)]
mod tests;
