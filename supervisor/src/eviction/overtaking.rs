//! Who may be started before a model that waits for room. Pure.
//!
//! The first in the line is overtaken within bounds. What is on its way back to it stays enough for it. While it waits for workers
//! that are busy, others may take what is free, but only as long as it would not have those drained yet, and only others of its
//! class that can be ended for it afterwards: so they hold it up by no more than their own start and end.

use std::time::Duration;

use ipc_proto::generate::Priority;

use super::{Activity, PATIENCE, Plan, Resident, missing, plan};
use crate::memory::Need;

/// A model that is to be started.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waiting {
    /// What it needs.
    pub(crate) need: Need,
    /// For how long it has waited.
    pub(crate) waited: Duration,
    /// Its class.
    pub(crate) priority: Priority,
    /// It would not be evicted.
    pub(crate) pinned: bool,
}

/// Whether `next` may be started before `first`, which waits for room; with the least KV cache, since more would have to be given
/// back.
pub(crate) fn may_overtake(budget: u64, first: &Waiting, next: &Waiting, residents: &[Resident]) -> bool {
    let leased = residents.iter().map(Resident::all).fold(0, u64::saturating_add);
    if next.need.least() > budget.saturating_sub(leased) {
        return false;
    }
    let started = Resident {
        // Nobody's number.
        worker: u64::MAX,
        share: next.need.share(next.need.kv_least),
        kv_least: next.need.kv_least,
        activity: Activity::Starting,
        pinned: next.pinned,
        priority: next.priority,
    };
    let with = [residents, &[started]].concat();
    let least = first.need.least();
    if missing(budget, least, residents) == 0 {
        return missing(budget, least, &with) == 0;
    }
    first.waited < PATIENCE
        && next.priority <= first.priority
        && plan(budget, &first.need, &with, first.waited, true) != Plan::Never
}

#[cfg(test)]
mod tests;
