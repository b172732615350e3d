//! Starts workers, and makes room for them.
//!
//! Models wait in one queue, by the priority of their callers and then by time. The first one makes room. Others start
//! before it only within the bounds of [`crate::eviction::overtaking`]. If the queue is empty, models get their further
//! replicas from free memory.

use std::time::{Duration, Instant};

use ipc_proto::error::RETRY_AFTER;
use ipc_proto::generate::Priority;
use ipc_proto::supervisor::{ModelState, Pressure, WorkerState};
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Resource};
use tokio::sync::mpsc::unbounded_channel;

use super::FleetCommand;
use super::actor::{FleetActor, Slot, Worker};
use super::calls::DRAIN;
use super::worker::{WorkerCommand, run_worker};
use crate::eviction::overtaking::{Waiting, may_overtake};
use crate::eviction::{Activity, Plan, Resident, plan};
use crate::failures::Verdict;
use crate::memory::Need;
use crate::process::Process;

/// A model that finds no room in this time is refused.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// Starts wait no longer for a worker to resize its KV pool.
const RESIZE_LIMIT: Duration = Duration::from_secs(35);

/// A model in the queue.
#[derive(Debug)]
struct QueuedModel {
    id: String,
    priority: Priority,
    since: Instant,
    /// Callers wait for it, so it may take memory from others.
    has_callers: bool,
}

/// The models that may start after a step for one of the queue.
#[derive(Debug, Clone, Copy)]
enum MayFollow {
    Any,
    /// Only those that may start ahead of this one.
    Ahead(Waiting),
    None,
}

impl FleetActor {
    /// Takes the next step for every model in the queue, as far as memory allows.
    pub(super) fn schedule_starts(&mut self) {
        if self.stopping {
            return;
        }
        self.drop_departed_callers();
        let now = Instant::now();
        let queue = self.queue(now);
        if queue.is_empty() {
            self.continue_restarts(now);
            self.start_replicas(now);
            return;
        }
        // The first caller after a quiet time must not meet an old measurement.
        self.probe_pressure_if_due(now);
        let mut next = MayFollow::Any;
        for queued in &queue {
            match next {
                MayFollow::Any => next = self.advance_start(queued, now),
                MayFollow::Ahead(first) => self.try_start_ahead(&first, queued, now),
                MayFollow::None => return,
            }
        }
    }

    fn drop_departed_callers(&mut self) {
        for slot in self.slots.values_mut() {
            slot.callers.retain(|caller| !caller.reply.is_closed());
        }
    }

    /// The models that need a first worker, in the order of their starts.
    fn queue(&self, now: Instant) -> Vec<QueuedModel> {
        let mut queue = Vec::new();
        for (id, slot) in &self.slots {
            let has_callers = !slot.callers.is_empty();
            let has_worker = self.count_workers(id, &[WorkerState::Starting, WorkerState::Ready]) > 0;
            if has_worker || !(has_callers || slot.preload) || slot.failures.verdict(now) != Verdict::Go {
                continue;
            }
            let since = slot.callers.iter().map(|caller| caller.since).min().unwrap_or(now);
            queue.push(QueuedModel { id: id.clone(), priority: self.priority(id, slot), since, has_callers });
        }
        queue.sort_by_key(|queued| (!queued.has_callers, queued.priority, queued.since));
        queue
    }

    /// The most urgent priority of a model's callers. `Normal` in a request means the model's own priority.
    fn priority(&self, id: &str, slot: &Slot) -> Priority {
        let own = self.settings(id).priority;
        let requested = slot.callers.iter().map(|caller| match caller.want.priority {
            Priority::Normal => own,
            special => special,
        });
        requested.min().unwrap_or(own)
    }

    /// Ids of the queued models, in order. Those that wait after a failure come last.
    pub(super) fn queued_ids(&self, now: Instant) -> Vec<String> {
        let is_queued = |id: &String| self.state(id) == ModelState::Queued;
        let mut ids: Vec<String> = self.queue(now).into_iter().map(|queued| queued.id).collect();
        ids.retain(is_queued);
        for id in self.slots.keys() {
            if is_queued(id) && !ids.contains(id) {
                ids.push(id.clone());
            }
        }
        ids
    }

    /// Starts a model before the first in the queue, if that does not delay the first for long.
    fn try_start_ahead(&mut self, first: &Waiting, queued: &QueuedModel, now: Instant) {
        if !queued.has_callers {
            return;
        }
        let Some(need) = self.estimate_need(&queued.id, now) else { return };
        let next = self.waiting(need, queued, now);
        if !self.is_resizing(now) && may_overtake(self.ledger.budget(), first, &next, &self.residents(now)) {
            tracing::info!(model = queued.id, "starts before a larger model that waits for room");
            self.start_worker(&queued.id, need, need.kv_min, now);
        }
    }

    fn waiting(&self, need: Need, queued: &QueuedModel, now: Instant) -> Waiting {
        let waited = now.saturating_duration_since(queued.since);
        Waiting { need, waited, priority: queued.priority, pinned: self.is_pinned(&queued.id) }
    }

    /// Takes the next step for a queued model: starts it, makes room for it, or refuses it.
    fn advance_start(&mut self, queued: &QueuedModel, now: Instant) -> MayFollow {
        let id = &queued.id;
        let waited = now.saturating_duration_since(queued.since);
        let Some(need) = self.estimate_need(id, now) else {
            // It was there when the call arrived.
            let text = format!("the model \"{id}\" is gone from the disk");
            let error = Error::not_found(Resource::Model, text).with_field("model");
            self.slot(id).preload = false;
            self.refuse_callers(id, &error);
            return MayFollow::Any;
        };
        // A caller may have waited for something else: a start that took long, or failed.
        if waited > LONGEST_WAIT && (self.pressure > Pressure::Normal || !self.has_room(&need, now)) {
            let why = match self.pressure {
                Pressure::Normal => "the models that have the memory are busy",
                Pressure::Warn | Pressure::Critical => "the system is short of memory",
            };
            self.refuse_for_memory(id, &need, why, Disposition::RetryAfter(RETRY_AFTER));
            return MayFollow::Any;
        }
        if let Some(error) = self.broken(id).filter(|_| !self.has_room(&need, now)) {
            // Its size may be as wrong as the rest. No other model makes room for it.
            self.mark_broken(id, &error);
            return MayFollow::Any;
        }
        if self.pressure > Pressure::Normal || self.is_resizing(now) {
            return MayFollow::None;
        }
        let ahead = MayFollow::Ahead(self.waiting(need, queued, now));
        match plan(self.ledger.budget(), &need, &self.residents(now), waited, queued.has_callers) {
            Plan::Start { kv } => {
                self.start_worker(id, need, kv, now);
                MayFollow::Any
            }
            Plan::Shrink(sizes) => {
                self.shrink_kv_pools(&sizes, now);
                MayFollow::None
            }
            Plan::Evict(victims) => {
                self.evict(&victims, &format!("evicted to make room for {id}"));
                ahead
            }
            Plan::Drain(victims) => {
                self.evict(&victims, &format!("its requests end to make room for {id}, which has waited"));
                ahead
            }
            Plan::Wait if queued.has_callers => ahead,
            Plan::Wait => MayFollow::Any,
            Plan::Never => {
                self.slot(id).preload = false;
                self.refuse_for_memory(
                    id,
                    &need,
                    "nothing that may be unloaded makes room for it",
                    Disposition::Final,
                );
                MayFollow::Any
            }
        }
    }

    /// Whether a worker can start without a change to the others.
    fn has_room(&self, need: &Need, now: Instant) -> bool {
        let next = plan(self.ledger.budget(), need, &self.residents(now), Duration::ZERO, false);
        matches!(next, Plan::Start { .. })
    }

    pub(super) fn evict(&mut self, victims: &[u64], reason: &str) {
        self.evictions += victims.len() as u64;
        for victim in victims {
            self.end_worker(*victim, Some(DRAIN * 4), reason);
        }
    }

    pub(super) fn shrink_kv_pools(&mut self, sizes: &[(u64, u64)], now: Instant) {
        for (number, kv) in sizes {
            if let Some(worker) = self.workers.get_mut(number) {
                tracing::info!(model = worker.model, kv_mib = kv >> 20, "a worker's KV cache shrinks");
                worker.resizing = Some((*kv, now));
                worker.send(WorkerCommand::Resize(*kv));
            }
        }
    }

    pub(super) fn is_resizing(&self, now: Instant) -> bool {
        let is_resizing =
            |worker: &Worker| worker.resizing.is_some_and(|(_, since)| now - since < RESIZE_LIMIT);
        self.workers.values().any(is_resizing)
    }

    /// Refuses a model's callers with the numbers.
    fn refuse_for_memory(&mut self, id: &str, need: &Need, why: &str, disposition: Disposition) {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let text = format!(
            "the model \"{id}\" needs {} MiB of memory ({} for weights, {} for the KV cache, {} besides), and of the budget of {} \
             MiB {} MiB are free: {why}",
            mib(need.minimum()),
            mib(need.weights),
            mib(need.kv_min),
            mib(need.transient),
            mib(self.ledger.budget()),
            self.ledger.free() >> 20,
        );
        tracing::warn!(model = id, text, "no room");
        let error =
            Error::new(ErrorKind::Unavailable, Origin::Supervisor, text).with_disposition(disposition);
        self.refuse_callers(id, &error);
    }

    /// The memory that a worker of a model needs; `None` if the model is gone from the disk.
    pub(super) fn estimate_need(&mut self, id: &str, now: Instant) -> Option<Need> {
        // The estimate uses the last catalogue. A model that waits gets a better one with each scan.
        self.registry.refresh(now);
        let model = self.registry.get(id)?;
        let settings = self.settings(id);
        let mut need = crate::estimate::estimate_need(&model.details, &settings, self.physical);
        if let Some(draft) = settings.draft_model.and_then(|id| self.registry.get(&id)) {
            need.drafting = crate::estimate::estimate_draft(&draft.details, &model.details, need.kv_wanted);
            need.weights = need.weights.saturating_add(need.drafting);
        }
        Some(need)
    }

    /// The workers, as [`crate::eviction`] sees them.
    pub(super) fn residents(&self, now: Instant) -> Vec<Resident> {
        let resident = |(number, worker): (&u64, &Worker)| {
            let busy = worker.process.health().running + worker.process.health().waiting > 0;
            let activity = match worker.process.state() {
                WorkerState::Starting => Activity::Starting,
                WorkerState::Ready if busy => Activity::Busy,
                WorkerState::Ready => worker.process.idle(now).map_or(Activity::Busy, Activity::Idle),
                _ => Activity::Leaving,
            };
            Resident {
                worker: *number,
                share: self.ledger.share(*number),
                kv_min: worker.need.kv_min.max(worker.kv_floor),
                activity,
                pinned: self.is_pinned(&worker.model) || self.is_replacement(*number),
                priority: self.settings(&worker.model).priority,
            }
        };
        self.workers.iter().map(resident).collect()
    }

    /// Whether a restart started this worker.
    fn is_replacement(&self, number: u64) -> bool {
        self.slots
            .values()
            .any(|slot| slot.restart.as_ref().is_some_and(|restart| restart.new == Some(number)))
    }

    /// Starts further replicas of models that have a ready worker.
    fn start_replicas(&mut self, now: Instant) {
        if self.pressure > Pressure::Normal || self.is_resizing(now) {
            return;
        }
        for id in self.ids_short_of_replicas(now) {
            let Some(need) = self.estimate_need(&id, now) else { continue };
            match plan(self.ledger.budget(), &need, &self.residents(now), Duration::ZERO, false) {
                Plan::Start { kv } => drop(self.start_worker(&id, need, kv, now)),
                Plan::Shrink(sizes) => return self.shrink_kv_pools(&sizes, now),
                _ => {}
            }
        }
    }

    fn ids_short_of_replicas(&self, now: Instant) -> Vec<String> {
        let is_short = |id: &str, slot: &Slot| {
            let active = self.count_workers(id, &[WorkerState::Starting, WorkerState::Ready]);
            slot.wanted
                && slot.restart.is_none()
                && slot.failures.verdict(now) == Verdict::Go
                && self.count_workers(id, &[WorkerState::Ready]) > 0
                && active < self.settings(id).replicas as usize
        };
        self.slots.iter().filter(|(id, slot)| is_short(id, slot)).map(|(id, _)| id.clone()).collect()
    }

    /// Leases the memory and starts the process. Returns its incarnation.
    pub(super) fn start_worker(&mut self, id: &str, need: Need, kv: u64, now: Instant) -> u64 {
        self.incarnations += 1;
        let number = self.incarnations;
        let granted = self.ledger.grant(number, need.share(kv));
        debug_assert!(granted, "a plan to start has room for it");
        let (launch, rules) = self.launch(id, number, &need, kv);
        let (commands, received) = unbounded_channel();
        let worker = Worker {
            model: id.to_owned(),
            process: Process::start(rules, now),
            commands,
            socket: launch.socket.clone(),
            pid: None,
            address: None,
            footprint: 0,
            need,
            resizing: None,
            kv_floor: 0,
            reason: String::new(),
            excused: false,
        };
        tracing::info!(
            model = id,
            incarnation = number,
            lease_mib = need.share(kv).total() >> 20,
            kv_mib = kv >> 20,
            "a worker starts"
        );
        self.workers.insert(number, worker);
        let slot = self.slot(id);
        (slot.wanted, slot.preload) = (true, false);
        slot.note = "its worker starts".into();
        let reports = self.commands.clone();
        let report = move |report| drop(reports.send(FleetCommand::Report(number, report)));
        tokio::spawn(run_worker(launch, received, Box::new(report)));
        number
    }
}
