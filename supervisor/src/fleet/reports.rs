//! Handles the reports of workers' tasks.

use std::time::Instant;

use ipc_proto::supervisor::{WorkerAddress, WorkerState};
use ipc_proto::worker::{Health, ModelInfo};
use ipc_proto::{Error, Result};

use super::actor::FleetActor;
use super::calls::answer;
use super::worker::Report;
use crate::process::Event;

impl FleetActor {
    pub(super) fn handle_report(&mut self, number: u64, report: Report) {
        match report {
            Report::Spawned(pid) => {
                if let Some(worker) = self.workers.get_mut(&number) {
                    worker.pid = Some(pid);
                }
            }
            Report::Progress(progress) => self.apply_event(number, Event::Progress(progress)),
            Report::Loaded(outcome) => self.handle_load_result(number, outcome),
            Report::Health(health, footprint) => self.record_health(number, health, footprint),
            Report::Footprint(footprint) => self.record_footprint(number, footprint),
            Report::Resized(limit) => self.record_kv_limit(number, limit),
            Report::Exited(exit, last_words) => self.handle_exit(number, &exit, last_words),
        }
    }

    fn record_health(&mut self, number: u64, health: Health, footprint: u64) {
        self.record_footprint(number, footprint);
        self.apply_event(number, Event::Health(health));
        let is_idle = health.running + health.waiting == 0;
        if let Some(worker) = self.workers.get_mut(&number).filter(|_| is_idle) {
            worker.kv_floor = 0;
        }
    }

    fn record_footprint(&mut self, number: u64, footprint: u64) {
        if let Some(worker) = self.workers.get_mut(&number) {
            worker.footprint = footprint;
            self.ledger.correct(number, footprint, worker.need.transient);
        }
    }

    fn record_kv_limit(&mut self, number: u64, limit: u64) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let wanted = worker.resizing.take().map(|(wanted, _)| wanted);
        // Running requests were promised more memory. The pool cannot shrink further before they end.
        worker.kv_floor = if wanted.is_some_and(|wanted| limit > wanted) { limit } else { 0 };
        self.ledger.correct_kv(number, limit);
    }

    fn handle_load_result(&mut self, number: u64, outcome: Result<ModelInfo>) {
        match outcome {
            Ok(info) => self.mark_loaded(number, info),
            Err(error) => {
                self.apply_event(number, Event::Broken);
                let Some(worker) = self.workers.get_mut(&number) else { return };
                let id = worker.model.clone();
                let text = format!("the model \"{id}\" cannot be loaded: {}", error.message);
                worker.reason.clone_from(&text);
                self.mark_broken(&id, &Error { message: text, ..error });
            }
        }
    }

    fn mark_loaded(&mut self, number: u64, info: ModelInfo) {
        self.apply_event(number, Event::Loaded);
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let id = worker.model.clone();
        let (socket, weights) = (worker.socket.clone(), info.weight_bytes);
        worker.address = Some(WorkerAddress { socket, incarnation: number, model: info });
        let (drafting, is_ready) = (worker.need.drafting, worker.process.is_ready());
        // A runner that does not compute reports no weights, so there is nothing to correct.
        if weights > 0 {
            self.ledger.set_weights(number, weights.saturating_add(drafting));
        }
        if !is_ready {
            return;
        }
        let slot = self.slot(&id);
        slot.failures.record_success();
        slot.note = "it is ready".into();
        let callers = std::mem::take(&mut slot.callers);
        let ready = self.ready_addresses(&id);
        for caller in callers {
            answer(caller.reply, Ok(ready.clone()));
        }
        self.update_restart_after_start(&id, number);
    }

    /// Records that a model's files cannot be served.
    pub(super) fn mark_broken(&mut self, id: &str, error: &Error) {
        let slot = self.slot(id);
        slot.preload = false;
        slot.failures.record_broken(error.clone(), Instant::now());
        slot.note.clone_from(&error.message);
        // Another worker of the model may still serve.
        if self.count_workers(id, &[WorkerState::Ready]) == 0 {
            self.refuse_callers(id, error);
        }
    }
}
