//! The engine's counters, for threads that must not wait for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ipc_proto::worker::{DraftStatistics, Health, Memory, PrefixStatistics, Progress};

use super::scheduler::Scheduler;

/// Written by the engine, read by anybody.
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
    /// Tokens that the KV pool may hold; 0 before the engine runs.
    kv_tokens: AtomicU32,
}

impl Counters {
    /// A reading. Its parts may be of neighbouring steps.
    pub fn health(&self) -> Health {
        let [hits, misses, misses_after_eviction, evictions, last_miss_at] = read(&self.prefix);
        let [proposed, accepted] = read(&self.drafts);
        let [weights, kv_allocated, kv_limit, active, cached, peak] = read(&self.memory);
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
        }
    }

    /// How far loading is.
    pub fn progress(&self) -> Progress {
        let [loaded, total] = read(&self.loading);
        Progress { loaded, total }
    }

    /// Tells how far loading is.
    pub fn publish_progress(&self, loaded: u64, total: u64) {
        write(&self.loading, [loaded, total]);
    }

    /// Prompt and output of one request together, as far as the KV pool's limit allows it now.
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

    /// One more step begins, as scheduled.
    pub(super) fn begin_step(&self, scheduler: &Scheduler) {
        self.steps.fetch_add(1, Ordering::Relaxed);
        self.publish(scheduler);
    }

    /// Tells what the scheduler holds.
    pub(super) fn publish(&self, scheduler: &Scheduler) {
        let (running, waiting) = scheduler.counts();
        let (used, total) = scheduler.blocks();
        self.running.store(running as u32, Ordering::Relaxed);
        self.waiting.store(waiting as u32, Ordering::Relaxed);
        self.blocks_used.store(used, Ordering::Relaxed);
        self.blocks_total.store(total, Ordering::Relaxed);
        self.kv_tokens.store(scheduler.longest() as u32, Ordering::Relaxed);
        let PrefixStatistics { hits, misses, misses_after_eviction, evictions, last_miss_at } =
            scheduler.prefix_statistics();
        write(&self.prefix, [hits, misses, misses_after_eviction, evictions, last_miss_at]);
        let DraftStatistics { proposed, accepted } = scheduler.draft_statistics();
        write(&self.drafts, [proposed, accepted]);
    }

    /// One more step begins, of an engine without a scheduler.
    pub(crate) fn count_step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells how many requests such an engine has.
    pub(crate) fn publish_running(&self, running: usize) {
        self.running.store(running as u32, Ordering::Relaxed);
    }

    /// Tells where memory goes.
    pub(crate) fn publish_memory(&self, memory: Memory) {
        let Memory { weights, kv_used: _, kv_allocated, kv_limit, active, cached, peak } = memory;
        write(&self.memory, [weights, kv_allocated, kv_limit, active, cached, peak]);
    }
}

fn read<const N: usize>(from: &[AtomicU64; N]) -> [u64; N] {
    std::array::from_fn(|at| from[at].load(Ordering::Relaxed))
}

fn write<const N: usize>(to: &[AtomicU64; N], values: [u64; N]) {
    for (to, value) in to.iter().zip(values) {
        to.store(value, Ordering::Relaxed);
    }
}
