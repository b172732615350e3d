//! The fleet as it is shown.

use std::collections::BTreeSet;
use std::time::Instant;

use ipc_proto::Error;
use ipc_proto::supervisor::{Lease, ModelEntry, ModelState, Pool, WorkerEntry, WorkerState};

use super::owner::{Owner, Worker};
use crate::machine;

impl Owner {
    /// Every model on disk, and those that still run though they are gone from it.
    pub(super) fn models(&mut self) -> Vec<ModelEntry> {
        let folders: Vec<_> =
            self.registry.folders().iter().map(|(id, folder)| (id.clone(), folder.clone())).collect();
        let mut entries = Vec::new();
        for (id, folder) in folders {
            let details = self.registry.details(&folder);
            let mut entry = self.entry(&id);
            (entry.created, entry.bytes, entry.details) = (folder.created, folder.bytes, details);
            entries.push(entry);
        }
        let mut lost: Vec<&String> = self.workers.values().map(|worker| &worker.model).collect();
        lost.retain(|id| entries.iter().all(|entry| entry.id != **id));
        lost.sort();
        lost.dedup();
        let lost: Vec<ModelEntry> = lost.into_iter().map(|id| self.entry(id)).collect();
        entries.extend(lost);
        entries
    }

    fn entry(&self, id: &str) -> ModelEntry {
        let slot = self.slots.get(id);
        ModelEntry {
            id: id.to_owned(),
            aliases: self.settings(id).aliases,
            state: self.state(id),
            workers: self.of(id).map(|(number, worker)| self.worker_entry(number, worker)).collect(),
            waiting: slot.map_or(0, |slot| slot.callers.len() as u32),
            pinned: self.is_pinned(id),
            last_exit: slot.and_then(|slot| slot.last_exit.clone()),
            ..ModelEntry::default()
        }
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

    /// What a model's workers are doing, in one word.
    pub(super) fn state(&self, id: &str) -> ModelState {
        let slot = self.slots.get(id);
        let has = |state| self.count(id, &[state]) > 0;
        if has(WorkerState::Ready) {
            return ModelState::Ready;
        }
        let starting = self.of(id).find(|(_, worker)| worker.process.state() == WorkerState::Starting);
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

    /// Why a model cannot be asked for at all: there is no code for its family.
    pub(super) fn unserved(&mut self, id: &str) -> Option<Error> {
        let folder = self.registry.known(id)?;
        let details = self.registry.details(&folder);
        let problem = details.problem.filter(|_| details.unserved)?;
        Some(Error::invalid("model", format!("the model \"{id}\" cannot be served: {problem}")))
    }

    /// Ids that something is set for, and no folder has.
    fn unknown(&mut self) -> Vec<String> {
        let named: BTreeSet<String> = self.names().cloned().collect();
        named.into_iter().filter(|id| self.registry.known(id).is_none()).collect()
    }

    /// Somebody who misspelt a name would never know.
    pub(super) fn warn_of_unknown(&mut self) {
        for id in self.unknown() {
            let there = self.registry.there_are();
            tracing::warn!(model = id, "settings are there for a model that does not exist; {there}");
        }
    }

    /// The memory budget and who has what of it.
    pub(super) fn pool(&mut self) -> Pool {
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
            queue: self.queue(Instant::now()),
            evictions: self.evictions,
            unknown: self.unknown(),
        }
    }
}
