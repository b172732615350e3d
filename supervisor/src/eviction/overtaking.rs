//! Decides whether a model may start before the first of the queue. Pure.
//!
//! If enough memory for the first is about to come back, it must stay enough. If the first waits for busy workers, others
//! may take free memory until those workers are due to be drained. They must have at least its priority, and it must be
//! possible to evict them for it later. They therefore delay the first by no more than their own start and end.

use std::time::Duration;

use ipc_proto::generate::Priority;

use super::{Activity, PATIENCE, Plan, Resident, missing_bytes, plan};
use crate::memory::Need;

/// A model in the queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    pub(crate) need: Need,
    pub(crate) waited: Duration,
    pub(crate) priority: Priority,
    /// Exempt from eviction once it runs.
    pub(crate) pinned: bool,
}

/// Whether `next` may start before `first`. It starts with the least KV cache, because more would have to be given back.
pub(crate) fn may_overtake(budget: u64, first: &Waiting, next: &Waiting, residents: &[Resident]) -> bool {
    let leased = residents.iter().map(Resident::bytes).fold(0, u64::saturating_add);
    if next.need.minimum() > budget.saturating_sub(leased) {
        return false;
    }
    let started = Resident {
        // No worker has this incarnation.
        worker: u64::MAX,
        share: next.need.share(next.need.kv_min),
        kv_min: next.need.kv_min,
        activity: Activity::Starting,
        pinned: next.pinned,
        priority: next.priority,
    };
    let with = [residents, &[started]].concat();
    let minimum = first.need.minimum();
    if missing_bytes(budget, minimum, residents) == 0 {
        return missing_bytes(budget, minimum, &with) == 0;
    }
    first.waited < PATIENCE
        && next.priority <= first.priority
        && plan(budget, &first.need, &with, first.waited, true) != Plan::Never
}

#[cfg(test)]
mod tests;
