//! Periodic work: deadlines, idle models, memory pressure, growth of KV pools.

use std::time::{Duration, Instant};

use ipc_proto::supervisor::{KeepAlive, Pressure, WorkerState};

use super::actor::{FleetActor, Worker};
use super::calls::DRAIN;
use super::worker::WorkerCommand;
use crate::eviction::relief;
use crate::process::Event;

/// Interval between two probes of the memory pressure.
const PROBE: Duration = Duration::from_secs(1);
/// Interval between two trims of caches under pressure.
const TRIM: Duration = Duration::from_secs(10);
/// Time that the end of one worker under pressure has to take effect before the next one ends.
const RELIEF: Duration = Duration::from_secs(3);
/// A loaded model waits at least this long for its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// The resolution of idle times.
const SHORTEST_IDLE: Duration = Duration::from_secs(1);

impl FleetActor {
    pub(super) fn tick(&mut self, now: Instant) {
        for number in self.workers.keys().copied().collect::<Vec<_>>() {
            self.apply_event(number, Event::Tick);
        }
        self.finish_lookups(now);
        self.end_idle_workers(now);
        if self.probe_pressure_if_due(now) {
            self.grow_kv_pools(now);
        }
    }

    /// If there are watchers, checks for changes that come from outside: files and memory pressure.
    pub(super) fn refresh_for_watchers(&mut self, now: Instant) {
        if self.change_log.is_watched() {
            self.probe_pressure_if_due(now);
            self.registry.refresh(now);
        }
    }

    /// Probes the pressure unless that was done a moment ago.
    pub(super) fn probe_pressure_if_due(&mut self, now: Instant) -> bool {
        let is_due = self.probed_at.is_none_or(|at| now.saturating_duration_since(at) >= PROBE);
        if is_due {
            self.probed_at = Some(now);
            self.probe_pressure(now);
        }
        is_due
    }

    /// The lifetime of an idle worker; `None` for no limit. The last request decides, then the loading caller, then settings.
    pub(super) fn time_to_live(&self, worker: &Worker) -> Option<Duration> {
        let id = &worker.model;
        if self.is_pinned(id) {
            return None;
        }
        let requested = self.slots.get(id).map_or([KeepAlive::Default; 2], |slot| [slot.asked, slot.held]);
        let seconds = match requested.into_iter().find(|keep| *keep != KeepAlive::Default).unwrap_or_default()
        {
            KeepAlive::Forever => return None,
            KeepAlive::Seconds(seconds) => seconds,
            KeepAlive::Default => self.settings(id).idle_seconds.or(self.policy.idle_seconds)?,
        };
        let least = if worker.process.health().steps == 0 { FIRST_REQUEST } else { SHORTEST_IDLE };
        Some(Duration::from_secs(seconds.into()).max(least))
    }

    fn end_idle_workers(&mut self, now: Instant) {
        let mut expired = Vec::new();
        for (number, worker) in self.workers.iter().filter(|(_, worker)| worker.process.is_ready()) {
            let lifetime = self.time_to_live(worker).zip(worker.process.idle(now));
            if lifetime.is_some_and(|(live, idle)| idle >= live) {
                expired.push((*number, worker.model.clone()));
            }
        }
        for (number, id) in expired {
            self.slot(&id).wanted = false;
            self.end_worker(number, Some(DRAIN), "it was idle for as long as it is kept");
        }
    }

    /// Probes the pressure and relieves it.
    fn probe_pressure(&mut self, now: Instant) {
        let pressure = self.probe.probe();
        if pressure != self.pressure {
            tracing::info!(from = ?self.pressure, to = ?pressure, "memory pressure changes");
            self.pressure = pressure;
        }
        if pressure == Pressure::Normal {
            return;
        }
        if self.trimmed_at.is_none_or(|at| now - at >= TRIM) {
            self.trimmed_at = Some(now);
            self.shed_caches(now);
        }
        let is_due = self.relieved_at.is_none_or(|at| now - at >= RELIEF);
        if pressure == Pressure::Critical
            && is_due
            && let Some(victim) = relief(&self.residents(now))
        {
            self.relieved_at = Some(now);
            self.evictions += 1;
            self.end_worker(victim, None, "ended because the system has no memory left");
        }
    }

    /// Trims all caches and halves the KV pools, down to their guarantees.
    fn shed_caches(&mut self, now: Instant) {
        let mut sizes = Vec::new();
        for (number, worker) in self.workers.iter().filter(|(_, worker)| worker.process.is_ready()) {
            let kv = self.ledger.share(*number).kv;
            let smaller = (kv / 2).max(worker.need.kv_min).max(worker.kv_floor);
            if smaller < kv && worker.resizing.is_none() {
                sizes.push((*number, smaller));
            }
            worker.send(WorkerCommand::Trim);
        }
        self.shrink_kv_pools(&sizes, now);
    }

    /// Grows small KV pools from free memory: up to one full context, and further if a pool is nearly full.
    fn grow_kv_pools(&mut self, now: Instant) {
        let has_callers = self.slots.values().any(|slot| !slot.callers.is_empty());
        if has_callers || self.pressure > Pressure::Normal {
            return;
        }
        let small = self.workers.iter().filter(|(number, worker)| {
            let health = worker.process.health();
            let memory = health.memory;
            let is_full = health.waiting > 0 || memory.kv_used / 4 > memory.kv_limit / 5;
            let kv = self.ledger.share(**number).kv;
            worker.process.state() == WorkerState::Ready
                && worker.resizing.is_none()
                && (is_full || kv < worker.need.kv_context)
                && kv < worker.need.kv_wanted
        });
        for number in small.map(|(number, _)| *number).collect::<Vec<_>>() {
            let Some(worker) = self.workers.get_mut(&number) else { continue };
            let before = self.ledger.share(number).kv;
            let kv = self.ledger.set_kv(number, worker.need.kv_wanted);
            if kv > before {
                worker.resizing = Some((kv, now));
                worker.send(WorkerCommand::Resize(kv));
            }
        }
    }
}
