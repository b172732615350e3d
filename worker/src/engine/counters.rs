//! The engine's counters, readable by threads that must not wait for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ipc_proto::worker::{DraftStatistics, Health, LoadProgress, Memory, PrefixStatistics};

use super::scheduler::Scheduler;

/// Written by the engine thread only.
#[derive(Debug, Default)]
pub struct Counters {
    steps: AtomicU64,
    running: AtomicU32,
    waiting: AtomicU32,
    blocks_used: AtomicU32,
    blocks_total: AtomicU32,
    prefix: [AtomicU64; 5],
    drafts: [AtomicU64; 2],
    memory: [AtomicU64; 6],
    loading: [AtomicU64; 2],
    /// Longest request that the KV pool can hold, in tokens; 0 before the engine runs.
    kv_tokens: AtomicU32,
}

impl Counters {
    /// A snapshot. Its fields may come from neighbouring steps.
    pub fn health(&self) -> Health {
        let [hits, misses, misses_after_eviction, evictions, last_miss_at] = load_all(&self.prefix);
        let [proposed, accepted] = load_all(&self.drafts);
        let [weights, kv_allocated, kv_limit, active, cached, peak] = load_all(&self.memory);
        let (used, total) =
            (self.blocks_used.load(Ordering::Relaxed), self.blocks_total.load(Ordering::Relaxed));
        let kv_used = (kv_limit * u64::from(used)).checked_div(u64::from(total)).unwrap_or(0);
        Health {
            prefix: PrefixStatistics { hits, misses, misses_after_eviction, evictions, last_miss_at },
            drafts: DraftStatistics { proposed, accepted },
            memory: Memory { weights, kv_used, kv_allocated, kv_limit, active, cached, peak },
            steps: self.steps(),
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            kv_blocks_used: used,
            kv_blocks_total: total,
            max_context: self.kv_tokens.load(Ordering::Relaxed),
        }
    }

    /// Bytes of weights loaded, and in total.
    pub fn progress(&self) -> LoadProgress {
        let [loaded, total] = load_all(&self.loading);
        LoadProgress { loaded, total }
    }

    /// Publishes the loading progress, in bytes.
    pub fn publish_progress(&self, loaded: u64, total: u64) {
        store_all(&self.loading, [loaded, total]);
    }

    /// Longest prompt plus output, in tokens, under the current KV pool limit.
    pub fn max_length(&self) -> u32 {
        match self.kv_tokens.load(Ordering::Relaxed) {
            0 => u32::MAX,
            tokens => tokens,
        }
    }

    /// Steps since start.
    pub(super) fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Counts a step and publishes its schedule.
    pub(super) fn begin_step(&self, scheduler: &Scheduler) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.publish(scheduler);
    }

    /// Publishes the state of the scheduler.
    pub(super) fn publish(&self, scheduler: &Scheduler) {
        let (running, waiting) = scheduler.counts();
        let (used, total) = scheduler.blocks();
        self.running.store(running as u32, Ordering::Relaxed);
        self.waiting.store(waiting as u32, Ordering::Relaxed);
        self.blocks_used.store(used, Ordering::Relaxed);
        self.blocks_total.store(total, Ordering::Relaxed);
        self.kv_tokens.store(scheduler.max_length() as u32, Ordering::Relaxed);
        let PrefixStatistics { hits, misses, misses_after_eviction, evictions, last_miss_at } =
            scheduler.prefix_statistics();
        store_all(&self.prefix, [hits, misses, misses_after_eviction, evictions, last_miss_at]);
        let DraftStatistics { proposed, accepted } = scheduler.draft_statistics();
        store_all(&self.drafts, [proposed, accepted]);
    }

    /// Counts a step of an engine without a scheduler.
    pub(crate) fn count_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Publishes the number of running requests of an engine without a scheduler.
    pub(crate) fn publish_running(&self, running: usize) {
        self.running.store(running as u32, Ordering::Relaxed);
    }

    /// Publishes memory use; `kv_used` follows from the blocks instead.
    pub(crate) fn publish_memory(&self, memory: Memory) {
        let Memory { weights, kv_used: _, kv_allocated, kv_limit, active, cached, peak } = memory;
        store_all(&self.memory, [weights, kv_allocated, kv_limit, active, cached, peak]);
    }
}

fn load_all<const N: usize>(from: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|at| from[at].load(Ordering::Relaxed))
}

fn store_all<const N: usize>(to: &[AtomicU64; N], values: [u64; N]) {
    for (to, value) in to.iter().zip(values) {
        to.store(value, Ordering::Relaxed);
    }
}
