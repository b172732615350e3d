//! The memory budget and its leases. Pure numbers of bytes.
//!
//! Leases are granted only within the budget. A worker that exceeds its lease has it raised to its actual size. The sum may
//! then exceed the budget, and nothing is granted until room has been made.

use std::collections::BTreeMap;

/// Bytes that a worker has beside weights and KV cache. They hold the program, its tokenizer, freed buffers that MLX keeps
/// (256 MiB at most), and the temporary memory of a step.
pub(crate) const TRANSIENT: u64 = 384 << 20;

/// The lease of one worker, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) weights: u64,
    pub(crate) kv: u64,
    /// For everything else.
    pub(crate) transient: u64,
}

impl Share {
    pub(crate) fn total(&self) -> u64 {
        self.weights.saturating_add(self.kv).saturating_add(self.transient)
    }
}

/// The memory that a worker needs to start, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Need {
    /// Weights, estimated from the files' headers, and all memory of the draft model.
    pub(crate) weights: u64,
    /// The draft model's part of `weights`.
    pub(crate) drafting: u64,
    /// The preferred KV cache.
    pub(crate) kv_wanted: u64,
    /// The KV cache of one full context. A pool grows to it from free memory.
    pub(crate) kv_context: u64,
    /// The guaranteed KV cache.
    pub(crate) kv_min: u64,
    /// For everything else.
    pub(crate) transient: u64,
}

impl Need {
    /// The least memory for a start.
    pub(crate) fn minimum(&self) -> u64 {
        self.weights.saturating_add(self.kv_min).saturating_add(self.transient)
    }

    /// A lease with `kv` bytes of KV cache.
    pub(crate) fn share(&self, kv: u64) -> Share {
        Share { weights: self.weights, kv, transient: self.transient }
    }
}

/// The budget and its leases.
#[derive(Debug)]
pub(crate) struct Ledger {
    budget: u64,
    shares: BTreeMap<u64, Share>,
}

impl Ledger {
    /// A budget in bytes without leases.
    pub(crate) fn new(budget: u64) -> Self {
        Self { budget, shares: BTreeMap::new() }
    }

    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// Sets another budget. Leases stay, even if they exceed it.
    pub(crate) fn set_budget(&mut self, budget: u64) {
        self.budget = budget;
    }

    /// The sum of all leases.
    pub(crate) fn leased(&self) -> u64 {
        self.shares.values().map(Share::total).fold(0, u64::saturating_add)
    }

    /// The bytes that can still be granted.
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

    /// A worker's lease; zero if it has none.
    pub(crate) fn share(&self, worker: u64) -> Share {
        self.shares.get(&worker).copied().unwrap_or_default()
    }

    /// Corrects the weights once the model is loaded.
    pub(crate) fn set_weights(&mut self, worker: u64, weights: u64) {
        if let Some(share) = self.shares.get_mut(&worker) {
            share.weights = weights;
        }
    }

    /// Sets a worker's KV lease. It grows only into free memory. Returns the new lease.
    pub(crate) fn set_kv(&mut self, worker: u64, kv: u64) -> u64 {
        let free = self.free();
        let Some(share) = self.shares.get_mut(&worker) else { return 0 };
        share.kv = kv.min(share.kv.saturating_add(free));
        share.kv
    }

    /// Corrects the KV lease to the pool's actual limit.
    pub(crate) fn correct_kv(&mut self, worker: u64, kv: u64) {
        if let Some(share) = self.shares.get_mut(&worker) {
            share.kv = kv;
        }
    }

    /// Raises the lease of a worker to its footprint, and lowers it again later. `transient` is the least for the part
    /// beside weights and KV cache.
    pub(crate) fn correct(&mut self, worker: u64, footprint: u64, transient: u64) {
        if let Some(share) = self.shares.get_mut(&worker) {
            share.transient = transient.max(footprint.saturating_sub(share.weights.saturating_add(share.kv)));
        }
    }

    /// Ends a lease.
    pub(crate) fn release(&mut self, worker: u64) {
        self.shares.remove(&worker);
    }
}

#[cfg(test)]
mod tests;
