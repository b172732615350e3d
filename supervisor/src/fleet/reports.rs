//! What workers' tasks report.

use std::time::Instant;

use ipc_proto::supervisor::{WorkerAddress, WorkerState};
use ipc_proto::worker::ModelInfo;
use ipc_proto::{Error, Result};

use super::calls::answer;
use super::owner::Owner;
use super::worker::Report;
use crate::process::Event;

impl Owner {
    pub(super) fn report(&mut self, number: u64, report: Report) {
        match report {
            Report::Spawned(pid) => {
                if let Some(worker) = self.workers.get_mut(&number) {
                    worker.pid = Some(pid);
                }
            }
            Report::Progress(progress) => self.event(number, Event::Progress(progress)),
            Report::Loaded(outcome) => self.loaded(number, outcome),
            Report::Health(health, footprint) => {
                self.measured(number, footprint);
                self.event(number, Event::Health(health));
                let idle = health.running + health.waiting == 0;
                if let Some(worker) = self.workers.get_mut(&number).filter(|_| idle) {
                    worker.kv_floor = 0;
                }
            }
            Report::Footprint(footprint) => self.measured(number, footprint),
            Report::Resized(limit) => self.resized(number, limit),
            Report::Exited(end, last_words) => self.exited(number, &end, last_words),
        }
    }

    fn measured(&mut self, number: u64, footprint: u64) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.footprint = footprint;
            self.ledger.correct(number, footprint, worker.need.transient);
        }
    }

    fn resized(&mut self, number: u64, limit: u64) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let wanted = worker.resizing.take().map(|(wanted, _)| wanted);
        // Requests that run were promised more: it shrinks no further before they have ended.
        worker.kv_floor = if wanted.is_some_and(|wanted| limit > wanted) { limit } else { 0 };
        self.ledger.correct_kv(number, limit);
    }

    fn loaded(&mut self, number: u64, outcome: Result<ModelInfo>) {
        match outcome {
            Ok(info) => self.serves(number, info),
            Err(error) => {
                self.event(number, Event::Broken);
                let Some(worker) = self.workers.get_mut(&number) else { return };
                let id = worker.model.clone();
                let text = format!("the model \"{id}\" cannot be loaded: {}", error.message);
                worker.reason.clone_from(&text);
                self.broken(&id, &Error { message: text, ..error });
            }
        }
    }

    fn serves(&mut self, number: u64, info: ModelInfo) {
        self.event(number, Event::Loaded);
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let id = worker.model.clone();
        let (socket, weights) = (worker.socket.clone(), info.weight_bytes);
        let drafting = worker.need.drafting;
        worker.address = Some(WorkerAddress { socket, incarnation: number, model: info });
        // A runner that does not compute has no weights, and nothing to correct.
        if weights > 0 {
            self.ledger.loaded(number, weights.saturating_add(drafting));
        }
        if !self.workers.get(&number).is_some_and(|worker| worker.process.is_ready()) {
            return;
        }
        let slot = self.slot(&id);
        slot.failures.served();
        slot.note = "it is ready".into();
        let callers = std::mem::take(&mut slot.callers);
        let ready = self.ready(&id);
        for caller in callers {
            answer(caller.reply, Ok(ready.clone()));
        }
        self.replaced(&id, number);
    }

    /// A model's files cannot be served.
    pub(super) fn broken(&mut self, id: &str, error: &Error) {
        let slot = self.slot(id);
        slot.preload = false;
        slot.failures.broken(error.clone(), Instant::now());
        slot.note.clone_from(&error.message);
        // Another worker of the model may serve all the same.
        if self.count(id, &[WorkerState::Ready]) == 0 {
            self.fail(id, error);
        }
    }
}
