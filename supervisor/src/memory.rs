//! The memory budget and its leases. Pure numbers of bytes.
//!
//! Leases are granted only within the budget. A worker that turns out to have more than it was granted gets its lease raised to
//! what it has: then the sum can be over the budget until somebody has made room, and nothing is granted meanwhile.

use std::collections::BTreeMap;

/// What a worker has beside weights and KV: the program, its tokenizer, freed buffers that MLX keeps (256 MiB at most), what a
/// step needs for a moment.
pub(crate) const TRANSIENT: u64 = 384 << 20;

/// What one worker may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    /// For weights.
    pub(crate) weights: u64,
    /// For the KV cache.
    pub(crate) kv: u64,
    /// For everything else.
    pub(crate) transient: u64,
}

impl Share {
    /// In all.
    pub(crate) fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.transient)
    }
}

/// What a worker needs to be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Need {
    /// For weights, as estimated from the files' headers, and for all that a model that drafts has.
    pub(crate) weights: u64,
    /// Of these, what the model that drafts has.
    pub(crate) drafting: u64,
    /// KV cache that it would like to have.
    pub(crate) kv_wanted: u64,
    /// KV cache of one full context: what it gets where nobody else needs it.
    pub(crate) kv_context: u64,
    /// KV cache without which it is of little use.
    pub(crate) kv_least: u64,
    /// For everything else.
    pub(crate) transient: u64,
}

impl Need {
    /// The least that it can be started with.
    pub(crate) fn least(&self) -> u64 {
        self.weights.saturating_add(self.kv_least).saturating_add(self.transient)
    }

    /// A lease with `kv` bytes of KV cache.
    pub(crate) fn share(&self, kv: u64) -> Share {
        Share { weights: self.weights, kv, transient: self.transient }
    }
}

/// The budget and who has what of it.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: u64,
    shares: BTreeMap<u64, Share>,
}

impl Ledger {
    /// A budget of which nothing is granted.
    pub(crate) fn new(budget: u64) -> Self {
        Self { budget, shares: BTreeMap::new() }
    }

    /// The budget.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// What is granted.
    pub(crate) fn leased(&self) -> u64 {
        self.shares.values().map(Share::total).fold(0, u64::saturating_add)
    }

    /// What could be granted.
    pub(crate) fn free(&self) -> u64 {
        self.budget.saturating_sub(self.leased())
    }

    /// Grants a lease if it fits.
    pub(crate) fn grant(&mut self, worker: u64, share: Share) -> bool {
        let fits = share.total() <= self.free() && !self.shares.contains_key(&worker);
        if fits {
            self.shares.insert(worker, share);
        }
        fits
    }

    /// A worker's lease.
    pub(crate) fn share(&self, worker: u64) -> Share {
        self.shares.get(&worker).copied().unwrap_or_default()
    }

    /// The model is loaded: its weights take what they take.
    pub(crate) fn loaded(&mut self, worker: u64, weights: u64) {
        if let Some(share) = self.shares.get_mut(&worker) {
            share.weights = weights;
        }
    }

    /// Changes a worker's KV lease, upwards only as far as there is room; returns the new one.
    pub(crate) fn set_kv(&mut self, worker: u64, kv: u64) -> u64 {
        let free = self.free();
        let Some(share) = self.shares.get_mut(&worker) else { return 0 };
        share.kv = kv.min(share.kv.saturating_add(free));
        share.kv
    }

    /// The KV pool has this limit in fact, whatever was granted.
    pub(crate) fn correct_kv(&mut self, worker: u64, kv: u64) {
        if let Some(share) = self.shares.get_mut(&worker) {
            share.kv = kv;
        }
    }

    /// Raises the lease of a worker that has more than it was granted, and lowers it again when that has passed, to `transient`
    /// beside weights and KV cache at least.
    pub(crate) fn correct(&mut self, worker: u64, footprint: u64, transient: u64) {
        if let Some(share) = self.shares.get_mut(&worker) {
            share.transient = transient.max(footprint.saturating_sub(share.weights.saturating_add(share.kv)));
        }
    }

    /// Takes a lease back.
    pub(crate) fn release(&mut self, worker: u64) {
        self.shares.remove(&worker);
    }
}

#[cfg(test)]
mod tests;
