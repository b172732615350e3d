//! The engine's counters, for threads that must not wait for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ipc_proto::worker::Health;

use super::scheduler::Scheduler;

/// Written by the engine, read by anybody.
#[derive(Debug, Default)]
pub struct Counters {
    steps: AtomicU64,
    running: AtomicU32,
    waiting: AtomicU32,
    blocks_used: AtomicU32,
    blocks_total: AtomicU32,
}

impl Counters {
    /// A reading. Its parts may be of neighbouring steps.
    pub fn health(&self) -> Health {
        Health {
            steps: self.steps(),
            running: self.running.load(Ordering::Relaxed),
            waiting: self.waiting.load(Ordering::Relaxed),
            kv_blocks_used: self.blocks_used.load(Ordering::Relaxed),
            kv_blocks_total: self.blocks_total.load(Ordering::Relaxed),
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
    }
}
