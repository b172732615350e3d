//! What time brings: deadlines, idle models, pressure, room to grow.

use std::time::{Duration, Instant};

use ipc_proto::supervisor::{KeepAlive, Pressure, WorkerState};

use super::calls::DRAIN;
use super::owner::{Owner, Worker};
use super::worker::Order;
use crate::eviction::relief;
use crate::process::Event;

/// Between two looks at the system's memory.
const LOOK: Duration = Duration::from_secs(1);
/// Between two times that caches are given back under pressure.
const TRIM: Duration = Duration::from_secs(10);
/// After ending a worker for the system's sake it is waited for so long before the next.
const RELIEF: Duration = Duration::from_secs(3);
/// A model that was loaded and got no request yet is kept at least so long.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Idleness is seen no finer.
const SHORTEST: Duration = Duration::from_secs(1);

impl Owner {
    pub(super) fn tick(&mut self, now: Instant) {
        for number in self.workers.keys().copied().collect::<Vec<_>>() {
            self.event(number, Event::Tick);
        }
        self.expire(now);
        if self.look_again(now) {
            self.grow(now);
        }
    }

    /// Looks at what may have changed without anybody's doing, for whoever watches.
    pub(super) fn look_around(&mut self, now: Instant) {
        if self.news.is_watched() {
            self.look_again(now);
            self.registry.folders();
        }
    }

    /// Follows the system's pressure, unless that was done a moment ago.
    pub(super) fn look_again(&mut self, now: Instant) -> bool {
        let due = self.looked.is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK);
        if due {
            self.looked = Some(now);
            self.look(now);
        }
        due
    }

    /// How long an idle worker of a model stays.
    pub(super) fn time_to_live(&self, worker: &Worker) -> Option<Duration> {
        let id = &worker.model;
        if self.is_pinned(id) {
            return None;
        }
        let said = self.slots.get(id).map_or([KeepAlive::Default; 2], |slot| [slot.asked, slot.held]);
        let seconds = match said.into_iter().find(|keep| *keep != KeepAlive::Default).unwrap_or_default() {
            KeepAlive::Forever => return None,
            KeepAlive::Seconds(seconds) => seconds,
            KeepAlive::Default => self.settings(id).idle_seconds.or(self.policy.idle_seconds)?,
        };
        let least = if worker.process.health().steps == 0 { FIRST_REQUEST } else { SHORTEST };
        Some(Duration::from_secs(seconds.into()).max(least))
    }

    fn expire(&mut self, now: Instant) {
        let over = self.workers.iter().filter(|(_, worker)| {
            let idle = worker.process.idle(now).filter(|_| worker.process.is_ready());
            self.time_to_live(worker).zip(idle).is_some_and(|(live, idle)| idle >= live)
        });
        for number in over.map(|(number, _)| *number).collect::<Vec<_>>() {
            if let Some(id) = self.workers.get(&number).map(|worker| worker.model.clone()) {
                self.slot(&id).wanted = false;
            }
            self.end(number, Some(DRAIN), "it was idle for as long as it is kept");
        }
    }

    /// Follows the system's pressure.
    fn look(&mut self, now: Instant) {
        let pressure = self.source.read();
        if pressure != self.pressure {
            tracing::info!(from = ?self.pressure, to = ?pressure, "memory pressure changes");
            self.pressure = pressure;
        }
        if pressure == Pressure::Normal {
            return;
        }
        if self.trimmed.is_none_or(|trimmed| now - trimmed >= TRIM) {
            self.trimmed = Some(now);
            self.give_back(now);
        }
        let due = self.relieved.is_none_or(|relieved| now - relieved >= RELIEF);
        if pressure == Pressure::Critical
            && due
            && let Some(victim) = relief(&self.residents(now))
        {
            self.relieved = Some(now);
            self.evictions += 1;
            self.end(victim, None, "ended because the system has no memory left");
        }
    }

    /// Has workers give back what only caches hold, and lets their KV caches be half as large, down to what they need.
    fn give_back(&mut self, now: Instant) {
        let mut smaller = Vec::new();
        for (number, worker) in self.workers.iter().filter(|(_, worker)| worker.process.is_ready()) {
            let kv = self.ledger.share(*number).kv;
            let less = (kv / 2).max(worker.need.kv_least).max(worker.kv_floor);
            if less < kv && worker.resizing.is_none() {
                smaller.push((*number, less));
            }
            worker.order(Order::Trim);
        }
        self.shrink(&smaller, now);
    }

    /// Gives workers whose KV cache was made small what is free, up to one full context, and those who need more, more.
    fn grow(&mut self, now: Instant) {
        let waits = self.slots.values().any(|slot| !slot.callers.is_empty());
        if waits || self.pressure > Pressure::Normal {
            return;
        }
        let small = self.workers.iter().filter(|(number, worker)| {
            let health = worker.process.health();
            let memory = health.memory;
            let full = health.waiting > 0 || memory.kv_used / 4 > memory.kv_limit / 5;
            let kv = self.ledger.share(**number).kv;
            worker.process.state() == WorkerState::Ready
                && worker.resizing.is_none()
                && (full || kv < worker.need.kv_context)
                && kv < worker.need.kv_wanted
        });
        for number in small.map(|(number, _)| *number).collect::<Vec<_>>() {
            let Some(worker) = self.workers.get_mut(&number) else { continue };
            let before = self.ledger.share(number).kv;
            let kv = self.ledger.set_kv(number, worker.need.kv_wanted);
            if kv > before {
                worker.resizing = Some((kv, now));
                worker.order(Order::Resize(kv));
            }
        }
    }
}
