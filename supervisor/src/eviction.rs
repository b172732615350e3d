//! Decides how to make room for a worker. Pure: takes the workers and the need, and returns the next step.
//!
//! The steps, in order of preference:
//!
//! 1. start the worker, if it fits;
//! 2. wait, if memory is about to come back;
//! 3. shrink the KV pools of others;
//! 4. evict idle workers: the lowest priority first, then the longest idle;
//! 5. after a while, drain busy workers.
//!
//! Pinned workers lose nothing but spare KV cache. A worker that was used a moment ago is not idle: two alternating
//! clients would otherwise load a model for every request.

use std::cmp::Reverse;
use std::time::Duration;

use ipc_proto::generate::Priority;

use crate::memory::{Need, Share, TRANSIENT};

pub(crate) mod overtaking;

/// A worker without requests for less time is not idle yet.
pub(crate) const IDLE_GRACE: Duration = Duration::from_millis(500);
/// After this wait, busy workers are drained.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A worker with so many more bytes than usual has caused the pressure.
const OVERRUN: u64 = 512 << 20;

/// A worker with a lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    /// Its incarnation.
    pub(crate) worker: u64,
    pub(crate) share: Share,
    /// Bytes of KV cache that it keeps.
    pub(crate) kv_min: u64,
    pub(crate) activity: Activity,
    /// Exempt from eviction.
    pub(crate) pinned: bool,
    /// Low is evicted first.
    pub(crate) priority: Priority,
}

/// The activity of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It loads.
    Starting,
    /// It has requests.
    Busy,
    /// It has had no request for this time.
    Idle(Duration),
    /// It ends, and its memory comes back.
    Leaving,
}

/// The next step for a worker that is to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Start it.
    Start {
        /// Bytes of KV cache.
        kv: u64,
    },
    /// Shrink the KV pools of these workers to these sizes in bytes, then plan again.
    Shrink(Vec<(u64, u64)>),
    /// End these idle workers, then plan again.
    Evict(Vec<u64>),
    /// Drain these workers, then plan again.
    Drain(Vec<u64>),
    /// Plan again after the next event.
    Wait,
    /// No eviction makes enough room.
    Never,
}

impl Resident {
    fn bytes(&self) -> u64 {
        self.share.total()
    }

    /// Bytes of KV cache that it can give up now.
    fn spare_kv(&self) -> u64 {
        match self.activity {
            Activity::Busy | Activity::Idle(_) => self.share.kv.saturating_sub(self.kv_min),
            Activity::Starting | Activity::Leaving => 0,
        }
    }

    /// Bytes beside weights and KV cache beyond what a worker usually has; 0 if they are few. Its lease follows its footprint.
    fn overrun(&self) -> u64 {
        let over = self.share.transient.saturating_sub(TRANSIENT);
        if over > OVERRUN { over } else { 0 }
    }

    fn is_leaving(&self) -> bool {
        self.activity == Activity::Leaving
    }

    fn is_idle(&self) -> bool {
        matches!(self.activity, Activity::Idle(since) if since >= IDLE_GRACE)
    }

    /// Sorts victims: the lowest priority first, then the longest idle, then the oldest.
    fn eviction_order(&self) -> (Reverse<Priority>, Reverse<Duration>, u64) {
        let idle = match self.activity {
            Activity::Idle(since) => since,
            _ => Duration::ZERO,
        };
        (Reverse(self.priority), Reverse(idle), self.worker)
    }
}

fn sum(residents: &[Resident], bytes: impl Fn(&Resident) -> u64) -> u64 {
    residents.iter().map(bytes).fold(0, u64::saturating_add)
}

/// The next step for `need`. Without `disturb` it takes only free memory and spare caches.
pub(crate) fn plan(
    budget: u64,
    need: &Need,
    residents: &[Resident],
    waited: Duration,
    disturb: bool,
) -> Plan {
    let leased = sum(residents, Resident::bytes);
    let minimum = need.minimum();
    let free = budget.saturating_sub(leased);
    if minimum <= free && leased <= budget {
        let most = need.kv_min + (free - minimum);
        return Plan::Start { kv: need.kv_wanted.max(need.kv_min).min(most) };
    }
    let missing = missing_bytes(budget, minimum, residents);
    if missing == 0 {
        return Plan::Wait;
    }
    let spare = sum(residents, Resident::spare_kv);
    if missing <= spare {
        return Plan::Shrink(choose_sizes(residents, missing));
    }
    if !disturb {
        return Plan::Wait;
    }
    let choose = |may_end: &dyn Fn(&Resident) -> bool| {
        choose_victims(residents, missing, spare, |resident| !resident.pinned && may_end(resident))
    };
    if let Some(victims) = choose(&Resident::is_idle) {
        return Plan::Evict(victims);
    }
    let is_serving = |resident: &Resident| matches!(resident.activity, Activity::Busy | Activity::Idle(_));
    match choose(&is_serving) {
        Some(victims) if waited >= PATIENCE => return Plan::Drain(victims),
        Some(_) => return Plan::Wait,
        None => {}
    }
    // Workers that start now can be evicted later.
    match choose(&|resident| !resident.is_leaving()) {
        Some(_) => Plan::Wait,
        None => Plan::Never,
    }
}

/// Bytes that `minimum` still lacks when all leaving workers are gone.
fn missing_bytes(budget: u64, minimum: u64, residents: &[Resident]) -> u64 {
    let leased = sum(residents, Resident::bytes);
    let returning = sum(residents, |resident| if resident.is_leaving() { resident.bytes() } else { 0 });
    // Leases beyond the budget have to come back first.
    let debt = leased.saturating_sub(budget);
    let available = budget.saturating_sub(leased).saturating_add(returning);
    minimum.saturating_add(debt).saturating_sub(available)
}

/// New sizes of KV pools that free `missing` bytes. The largest spare caches give first.
fn choose_sizes(residents: &[Resident], mut missing: u64) -> Vec<(u64, u64)> {
    let mut able: Vec<&Resident> = residents.iter().filter(|resident| resident.spare_kv() > 0).collect();
    able.sort_by_key(|resident| (Reverse(resident.spare_kv()), resident.worker));
    let mut sizes = Vec::new();
    for resident in able {
        if missing == 0 {
            break;
        }
        let taken = resident.spare_kv().min(missing);
        missing -= taken;
        sizes.push((resident.worker, resident.share.kv - taken));
    }
    sizes
}

/// As few victims as possible whose memory covers `missing`, together with the spare caches of the others.
fn choose_victims(
    residents: &[Resident],
    missing: u64,
    spare: u64,
    may_end: impl Fn(&Resident) -> bool,
) -> Option<Vec<u64>> {
    let mut able: Vec<&Resident> = residents.iter().filter(|resident| may_end(resident)).collect();
    able.sort_by_key(|resident| resident.eviction_order());
    // A victim's spare cache is part of `spare` already.
    let gain = |resident: &Resident| resident.bytes().saturating_sub(resident.spare_kv());
    let mut gained = spare;
    let mut chosen = Vec::new();
    for resident in able {
        if gained >= missing {
            break;
        }
        gained = gained.saturating_add(gain(resident));
        chosen.push(resident);
    }
    if gained < missing {
        return None;
    }
    // A later, larger victim may have made an earlier one unnecessary.
    for index in (0..chosen.len()).rev() {
        let without = gained - gain(chosen[index]);
        if without >= missing && chosen.len() > 1 {
            gained = without;
            chosen.remove(index);
        }
    }
    Some(chosen.into_iter().map(|resident| resident.worker).collect())
}

/// The worker to end if the system has no memory left. One that has taken much more than usual pays before idle neighbours.
/// Pinned workers come last, busy ones before them.
pub(crate) fn relief(residents: &[Resident]) -> Option<u64> {
    let present = residents.iter().filter(|resident| !resident.is_leaving());
    let order = |resident: &&Resident| {
        let is_busy = !matches!(resident.activity, Activity::Idle(_));
        (resident.pinned, Reverse(resident.overrun()), is_busy, resident.eviction_order())
    };
    present.min_by_key(order).map(|resident| resident.worker)
}

#[cfg(test)]
mod tests;
