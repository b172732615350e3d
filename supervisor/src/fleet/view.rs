//! The fleet as callers see it: models, their states, the memory pool.

use std::collections::BTreeSet;
use std::time::Instant;

use ipc_proto::supervisor::{Lease, ModelEntry, ModelState, Pool, WorkerEntry, WorkerState};
use ipc_proto::{Disposition, Error, ErrorKind, Origin};

use super::actor::{FleetActor, Worker};
use crate::machine;
use crate::registry::SCAN_LIMIT;

impl FleetActor {
    /// Every model on disk, then those that still run without files.
    pub(super) fn models(&self) -> Vec<ModelEntry> {
        let mut entries: Vec<ModelEntry> =
            self.registry.models().keys().map(|id| self.model_entry(id)).collect();
        let running: BTreeSet<&String> = self.workers.values().map(|worker| &worker.model).collect();
        for id in running {
            if self.registry.get(id).is_none() {
                entries.push(self.model_entry(id));
            }
        }
        entries
    }

    /// A model with its workers. One without files on disk has no details.
    pub(super) fn model_entry(&self, id: &str) -> ModelEntry {
        let slot = self.slots.get(id);
        let model = self.registry.get(id);
        ModelEntry {
            created: model.as_ref().map_or(0, |model| model.folder.created),
            bytes: model.as_ref().map_or(0, |model| model.folder.bytes),
            details: model.map(|model| model.details.clone()).unwrap_or_default(),
            id: id.to_owned(),
            aliases: self.settings(id).aliases,
            state: self.state(id),
            context: self.context(id),
            workers: self.workers_of(id).map(|(number, worker)| self.worker_entry(number, worker)).collect(),
            waiting: slot.map_or(0, |slot| slot.callers.len() as u32),
            pinned: self.is_pinned(id),
            last_exit: slot.and_then(|slot| slot.last_exit.clone()),
        }
    }

    /// The smallest context of the loaded workers, or else the smaller of the files' and the setting's.
    fn context(&self, id: &str) -> Option<u32> {
        let loaded = self.workers_of(id).map(|(_, worker)| worker.process.health().max_context);
        let loaded = loaded.filter(|tokens| *tokens > 0).min();
        let files = self.registry.get(id).and_then(|model| model.details.context);
        let allowed = [files, self.settings(id).context].into_iter().flatten().min();
        loaded.or(allowed)
    }

    fn worker_entry(&self, number: u64, worker: &Worker) -> WorkerEntry {
        let (now, health) = (Instant::now(), worker.process.health());
        let idle = worker.process.idle(now).filter(|_| worker.process.is_ready());
        let left = self.time_to_live(worker).zip(idle).map(|(live, idle)| live.saturating_sub(idle));
        WorkerEntry {
            incarnation: number,
            pid: worker.pid,
            state: worker.process.state(),
            footprint: worker.footprint,
            lease: self.ledger.share(number).total(),
            running: health.running,
            waiting: health.waiting,
            steps: health.steps,
            idle_ms: idle.map(|idle| idle.as_millis() as u64),
            expires_ms: left.map(|left| left.as_millis() as u64),
        }
    }

    /// The state that the most advanced of a model's workers gives it.
    pub(super) fn state(&self, id: &str) -> ModelState {
        let slot = self.slots.get(id);
        let has = |state| self.count_workers(id, &[state]) > 0;
        if has(WorkerState::Ready) {
            return ModelState::Ready;
        }
        let starting =
            self.workers_of(id).find(|(_, worker)| worker.process.state() == WorkerState::Starting);
        if let Some((_, worker)) = starting {
            let progress = worker.process.progress();
            return ModelState::Loading { loaded: progress.loaded, total: progress.total };
        }
        if slot.is_some_and(|slot| !slot.callers.is_empty() || slot.preload) {
            return ModelState::Queued;
        }
        if has(WorkerState::Draining) {
            return ModelState::Draining;
        }
        match slot.and_then(|slot| slot.failures.last()) {
            Some(error) => ModelState::Failed(error.message.clone()),
            None if has(WorkerState::Stopping) => ModelState::Draining,
            None => ModelState::Stopped,
        }
    }

    /// The client's error if the model's family is not supported.
    pub(super) fn unsupported(&self, id: &str) -> Option<Error> {
        let model = self.registry.get(id).filter(|model| model.details.unserved)?;
        let problem = model.details.problem.as_ref()?;
        Some(Error::invalid("model", format!("the model \"{id}\" cannot be served: {problem}")))
    }

    /// The error if the model's files show that no worker can load them.
    pub(super) fn broken(&self, id: &str) -> Option<Error> {
        let model = self.registry.get(id)?;
        let problem = model.details.problem.as_ref()?;
        let text = format!("the model \"{id}\" cannot be loaded: {problem}");
        Some(Error::new(ErrorKind::ModelBroken, Origin::Supervisor, text))
    }

    /// The error if the model's folder does not answer. A worker would only hang while it loads.
    pub(super) fn silent(&self, id: &str) -> Option<Error> {
        let model = self.registry.get(id).filter(|model| model.silent)?;
        let folder = model.folder.path.display();
        let text = format!("the model \"{id}\" cannot be loaded: its folder {folder} does not answer");
        let later = Disposition::RetryAfter(SCAN_LIMIT);
        Some(Error::new(ErrorKind::Unavailable, Origin::Supervisor, text).with_disposition(later))
    }

    /// Ids with settings but without a model. Empty until every store has been scanned.
    pub(super) fn unknown_ids(&self) -> Vec<String> {
        if !self.registry.is_complete() {
            return Vec::new();
        }
        let configured: BTreeSet<&String> = self.configured_ids().collect();
        configured.into_iter().filter(|id| self.registry.get(id).is_none()).cloned().collect()
    }

    /// The memory budget and its leases.
    pub(super) fn pool(&self) -> Pool {
        let lease = |(number, worker): (&u64, &Worker)| {
            let share = self.ledger.share(*number);
            Lease {
                model: worker.model.clone(),
                incarnation: *number,
                bytes: share.total(),
                weights: share.weights,
                kv: share.kv,
                transient: share.transient,
                footprint: worker.footprint,
                health: worker.process.health(),
            }
        };
        let leases = self.workers.iter().map(lease).collect();
        let memory = machine::memory();
        Pool {
            budget: self.ledger.budget(),
            leased: self.ledger.leased(),
            measured: self.workers.values().map(|worker| worker.footprint).sum(),
            physical: memory.total,
            available: memory.available,
            pressure: self.pressure,
            leases,
            queue: self.queued_ids(Instant::now()),
            evictions: self.evictions,
            unknown: self.unknown_ids(),
            hidden: self.registry.hidden(),
        }
    }
}
