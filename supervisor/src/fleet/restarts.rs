//! Replaces a model's workers one after another.
//!
//! Each new worker serves before an old one drains, if both fit. Idle workers of other models make room. Otherwise one old
//! worker ends first and the new one gets its memory. The last one ends only if the files can be served.

use std::time::{Duration, Instant};

use ipc_proto::supervisor::{Pressure, WorkerState};
use ipc_proto::{Error, ErrorKind, Origin, Resource, Result};

use super::Reply;
use super::actor::{FleetActor, PendingRestart};
use super::calls::{DRAIN, answer};
use crate::eviction::{Plan, plan};

/// A restart that finds no room in this time is given up. The remaining workers stay.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

impl PendingRestart {
    fn is_done(&self) -> bool {
        self.old.is_empty() && self.new.is_none() && !self.owed
    }
}

impl FleetActor {
    pub(super) fn restart(&mut self, id: &str, reply: Reply<Result<()>>) {
        self.slot(id).failures.reset();
        let mut old = Vec::new();
        for (number, worker) in self.workers_of(id) {
            if matches!(worker.process.state(), WorkerState::Ready | WorkerState::Starting) {
                old.push(number);
            }
        }
        if old.is_empty() {
            return answer(reply, Ok(()));
        }
        let restart = PendingRestart { old, new: None, owed: false, since: Instant::now(), reply };
        if let Some(earlier) = self.slot(id).restart.replace(restart) {
            let text = format!("another restart of \"{id}\" took its place");
            answer(earlier.reply, Err(Error::new(ErrorKind::Cancelled, Origin::Supervisor, text)));
        }
    }

    /// Starts replacements for all restarts that have none starting.
    pub(super) fn continue_restarts(&mut self, now: Instant) {
        let mut open = Vec::new();
        for (id, slot) in &self.slots {
            if slot.restart.as_ref().is_some_and(|restart| restart.new.is_none()) {
                open.push(id.clone());
            }
        }
        for id in open {
            if self.is_resizing(now) {
                return;
            }
            self.continue_restart(&id, now);
        }
    }

    fn continue_restart(&mut self, id: &str, now: Instant) {
        let Some(since) = self.slot(id).restart.as_ref().map(|restart| restart.since) else { return };
        let Some(need) = self.estimate_need(id, now) else {
            let text = format!("the model \"{id}\" is gone from the disk");
            let error = Error::not_found(Resource::Model, text);
            return self.finish_restart(id, Err(error));
        };
        let has_pressure = self.pressure != Pressure::Normal;
        let mut residents = self.residents(now);
        for resident in &mut residents {
            // They serve until the new one does.
            resident.pinned |= self.workers.get(&resident.worker).is_some_and(|worker| worker.model == id);
        }
        let step =
            (!has_pressure).then(|| plan(self.ledger.budget(), &need, &residents, Duration::ZERO, true));
        match step {
            Some(Plan::Start { kv }) => {
                let new = self.start_worker(id, need, kv, now);
                if let Some(restart) = &mut self.slot(id).restart {
                    restart.new = Some(new);
                }
            }
            Some(Plan::Shrink(sizes)) => self.shrink_kv_pools(&sizes, now),
            Some(Plan::Evict(victims)) => {
                self.evict(&victims, &format!("evicted to make room for the restart of {id}"));
            }
            _ if now.saturating_duration_since(since) > LONGEST_WAIT => {
                let why = if has_pressure {
                    "the system is short of memory"
                } else {
                    "neither idle models nor its own old worker have made room for a new one"
                };
                let text = format!(
                    "the restart of \"{id}\" was given up after {} s: {why}. Its remaining workers stay",
                    LONGEST_WAIT.as_secs()
                );
                let error = Error::new(ErrorKind::Unavailable, Origin::Supervisor, text);
                self.finish_restart(id, Err(error));
            }
            Some(_) if !self.has_ending_worker() => self.end_old_worker_first(id, now),
            // Memory is short, or enough of it may be about to come back.
            _ => {}
        }
    }

    fn has_ending_worker(&self) -> bool {
        let is_ending = |state| matches!(state, WorkerState::Draining | WorkerState::Stopping);
        self.workers.values().any(|worker| is_ending(worker.process.state()))
    }

    /// Ends an old worker before its replacement starts, because both do not fit.
    fn end_old_worker_first(&mut self, id: &str, now: Instant) {
        let serving = self.count_workers(id, &[WorkerState::Ready, WorkerState::Starting]);
        let Some(restart) = &mut self.slot(id).restart else { return };
        // One worker is missing already, and others have taken its memory. Wait for that memory.
        if restart.owed {
            return;
        }
        if serving > 1 && !restart.old.is_empty() {
            let old = restart.old.remove(0);
            restart.owed = true;
            return self.end_worker(old, Some(DRAIN), "it is restarted");
        }
        if let Some(error) = self.silent(id).or_else(|| self.broken(id)) {
            let text = format!("{}; the worker that serves it stays", error.message);
            return self.finish_restart(id, Err(Error { message: text, ..error }));
        }
        // It is the only worker. Callers wait meanwhile, and this restart waits as one of them.
        let Some(restart) = self.slot(id).restart.take() else { return };
        for old in restart.old {
            self.end_worker(old, Some(DRAIN), "it is restarted");
        }
        self.queue_as_caller(id, restart.reply, now);
    }

    /// Lets a restart wait for the model as an ordinary caller.
    fn queue_as_caller(&mut self, id: &str, reply: Reply<Result<()>>, now: Instant) {
        let (ready, outcome) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let outcome = outcome.await.unwrap_or_else(|_| Err(super::stopping()));
            let _ = reply.send(outcome.map(|_| ()));
        });
        let want = ipc_proto::supervisor::Want::model(id);
        self.slot(id).callers.push(super::Caller { want, since: now, reply: ready });
    }

    /// A worker has become ready. If it is a replacement, an old worker may end.
    pub(super) fn update_restart_after_start(&mut self, id: &str, number: u64) {
        let Some(restart) = self.slot(id).restart.as_mut().filter(|restart| restart.new == Some(number))
        else {
            return;
        };
        (restart.new, restart.since) = (None, Instant::now());
        let owed = std::mem::take(&mut restart.owed);
        let old = (!owed && !restart.old.is_empty()).then(|| restart.old.remove(0));
        let is_done = restart.is_done();
        if let Some(old) = old {
            self.end_worker(old, Some(DRAIN), "it was replaced");
        }
        if is_done {
            self.finish_restart(id, Ok(()));
        }
    }

    /// A worker has ended. A restart whose replacement ended fails, and the old workers stay.
    ///
    /// If all old workers are gone and no replacement has started, the restart waits as a caller. Otherwise the callers
    /// and the restart would start one worker each.
    pub(super) fn update_restart_after_exit(&mut self, id: &str, number: u64) {
        let none_left = self.count_workers(id, &[WorkerState::Ready, WorkerState::Starting]) == 0;
        let Some(restart) = &mut self.slot(id).restart else { return };
        if restart.new == Some(number) {
            let text = format!("the new worker for \"{id}\" did not come");
            let error = Error::new(ErrorKind::Unavailable, Origin::Supervisor, text);
            return self.finish_restart(id, Err(error));
        }
        // An old worker that died by itself is replaced too.
        let before = restart.old.len();
        restart.old.retain(|old| *old != number);
        restart.owed |= restart.old.len() < before;
        if none_left
            && restart.new.is_none()
            && let Some(restart) = self.slot(id).restart.take()
        {
            self.queue_as_caller(id, restart.reply, Instant::now());
        }
    }

    fn finish_restart(&mut self, id: &str, outcome: Result<()>) {
        if let Some(restart) = self.slot(id).restart.take() {
            answer(restart.reply, outcome);
        }
    }
}
