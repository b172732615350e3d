//! How to make room for a worker. Pure: who is there, what is needed, what to do next.
//!
//! In this order: start where it fits; wait for memory that is on its way back; let others' KV pools shrink; evict idle workers,
//! the lowest priority and the longest unused first; after a while, drain busy ones, whose requests end first. Pinned workers
//! keep all but the KV cache that they can spare. Who was used a moment ago is not idle yet: two clients that take turns would
//! otherwise have every request load a model.

use std::time::Duration;

use ipc_proto::generate::Priority;

use crate::memory::{Need, Share};

pub(crate) mod overtaking;

/// An idle worker is left alone for so long.
pub(crate) const SETTLE: Duration = Duration::from_millis(500);
/// Who has waited so long for busy workers gets them drained.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A worker that has memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resident {
    /// Which.
    pub(crate) worker: u64,
    /// What it has.
    pub(crate) share: Share,
    /// KV cache that it keeps.
    pub(crate) kv_least: u64,
    /// What it is doing.
    pub(crate) activity: Activity,
    /// It is not evicted.
    pub(crate) pinned: bool,
    /// Low goes first.
    pub(crate) priority: Priority,
}

/// What a worker is doing, as far as evicting it is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// It loads.
    Starting,
    /// Requests run.
    Busy,
    /// Nothing has run for so long.
    Idle(Duration),
    /// It ends, and its memory comes back.
    Leaving,
}

/// What to do next for a worker that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Start it with so much KV cache.
    Start {
        /// Bytes.
        kv: u64,
    },
    /// Let KV pools shrink to these sizes, and ask again.
    Shrink(Vec<(u64, u64)>),
    /// End these workers, none of which is busy, and ask again.
    Evict(Vec<u64>),
    /// Let these workers' requests end, then end them, and ask again.
    Drain(Vec<u64>),
    /// Ask again when something has changed.
    Wait,
    /// It cannot fit, whoever goes.
    Never,
}

impl Resident {
    /// What it has and could do without, unless it is pinned.
    fn all(&self) -> u64 {
        self.share.total()
    }

    /// KV cache that it can spare.
    fn spare(&self) -> u64 {
        match self.activity {
            Activity::Busy | Activity::Idle(_) => self.share.kv.saturating_sub(self.kv_least),
            Activity::Starting | Activity::Leaving => 0,
        }
    }

    fn leaves(&self) -> bool {
        self.activity == Activity::Leaving
    }

    fn is_idle(&self) -> bool {
        matches!(self.activity, Activity::Idle(since) if since >= SETTLE)
    }

    /// The lowest class first, the longest idle first, then who has been there longest.
    fn order(&self) -> (std::cmp::Reverse<Priority>, std::cmp::Reverse<Duration>, u64) {
        let idle = match self.activity {
            Activity::Idle(since) => since,
            _ => Duration::ZERO,
        };
        (std::cmp::Reverse(self.priority), std::cmp::Reverse(idle), self.worker)
    }
}

/// What to do for `need`, which has waited for `waited`. Where it may not `disturb` others it takes free memory and spare caches
/// only.
pub(crate) fn plan(
    budget: u64,
    need: &Need,
    residents: &[Resident],
    waited: Duration,
    disturb: bool,
) -> Plan {
    let sum = |of: &dyn Fn(&Resident) -> u64| residents.iter().map(of).fold(0, u64::saturating_add);
    let (leased, least) = (sum(&Resident::all), need.least());
    let free = budget.saturating_sub(leased);
    if least <= free && leased <= budget {
        return Plan::Start { kv: need.kv_wanted.max(need.kv_least).min(need.kv_least + (free - least)) };
    }
    let missing = missing(budget, least, residents);
    if missing == 0 {
        return Plan::Wait;
    }
    let spare = sum(&Resident::spare);
    if missing <= spare {
        return Plan::Shrink(shrink(residents, missing));
    }
    if !disturb {
        return Plan::Wait;
    }
    let idle = victims(residents, missing, spare, |resident| !resident.pinned && resident.is_idle());
    if let Some(victims) = idle {
        return Plan::Evict(victims);
    }
    let can_end = |resident: &Resident| {
        !resident.pinned && matches!(resident.activity, Activity::Busy | Activity::Idle(_))
    };
    match victims(residents, missing, spare, can_end) {
        Some(victims) if waited >= PATIENCE => Plan::Drain(victims),
        Some(_) => Plan::Wait,
        None => {
            let later = |resident: &Resident| !resident.pinned && !resident.leaves();
            match victims(residents, missing, spare, later) {
                Some(_) => Plan::Wait,
                None => Plan::Never,
            }
        }
    }
}

/// What `least` bytes lack when all that is on its way back has come.
fn missing(budget: u64, least: u64, residents: &[Resident]) -> u64 {
    let sum = |of: &dyn Fn(&Resident) -> u64| residents.iter().map(of).fold(0, u64::saturating_add);
    let (leased, returning) =
        (sum(&Resident::all), sum(&|resident| if resident.leaves() { resident.all() } else { 0 }));
    // What is leased beyond the budget has to come back first.
    let least_and_debt = least.saturating_add(leased.saturating_sub(budget));
    least_and_debt.saturating_sub(budget.saturating_sub(leased).saturating_add(returning))
}

/// Takes `missing` bytes from who can spare most.
fn shrink(residents: &[Resident], mut missing: u64) -> Vec<(u64, u64)> {
    let mut able: Vec<&Resident> = residents.iter().filter(|resident| resident.spare() > 0).collect();
    able.sort_by_key(|resident| (std::cmp::Reverse(resident.spare()), resident.worker));
    let mut sizes = Vec::new();
    for resident in able {
        if missing == 0 {
            break;
        }
        let taken = resident.spare().min(missing);
        missing -= taken;
        sizes.push((resident.worker, resident.share.kv - taken));
    }
    sizes
}

/// As few as possible of those that `may` go, whose going gives `missing` bytes together with what the others can spare.
fn victims(
    residents: &[Resident],
    missing: u64,
    spare: u64,
    may: impl Fn(&Resident) -> bool,
) -> Option<Vec<u64>> {
    let mut able: Vec<&Resident> = residents.iter().filter(|resident| may(resident)).collect();
    able.sort_by_key(|resident| resident.order());
    // What a victim could have spared is not counted twice.
    let gain = |resident: &Resident| resident.all().saturating_sub(resident.spare());
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
    // Who was chosen early may not be needed after all.
    for at in (0..chosen.len()).rev() {
        let without = gained - gain(chosen[at]);
        if without >= missing && chosen.len() > 1 {
            gained = without;
            chosen.remove(at);
        }
    }
    Some(chosen.into_iter().map(|resident| resident.worker).collect())
}

/// Whom to end when the system has no memory left: the longest idle of the lowest class, else the lowest class. Never a pinned
/// one while there is another.
pub(crate) fn relief(residents: &[Resident]) -> Option<u64> {
    let there = residents.iter().filter(|resident| !resident.leaves());
    let key = |resident: &&Resident| {
        (resident.pinned, !matches!(resident.activity, Activity::Idle(_)), resident.order())
    };
    there.min_by_key(key).map(|resident| resident.worker)
}

#[cfg(test)]
mod tests;
