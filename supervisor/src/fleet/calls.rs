//! Commands to the actor, and the calls that concern one model.

use std::time::{Duration, Instant};

use ipc_proto::supervisor::KeepAlive;
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Result};

use super::actor::{FleetActor, PendingUnload};
use super::{Caller, FleetCommand, Reply, stopping};
use crate::failures::Verdict;

/// Time that the requests of an unloaded worker have to end.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

impl FleetActor {
    pub(super) fn handle(&mut self, command: FleetCommand) {
        match command {
            FleetCommand::Lookup(lookup) => self.begin_lookup(lookup),
            FleetCommand::Pool(reply) => answer(reply, self.pool()),
            FleetCommand::Watch(revision, reply) => self.change_log.watch(revision, reply),
            FleetCommand::Limits(limits, reply) => {
                self.set_limits(limits);
                answer(reply, ());
            }
            FleetCommand::Report(number, report) => self.handle_report(number, report),
            FleetCommand::Scanned(store, catalogue) => self.handle_scan(store, catalogue),
            FleetCommand::SettingsWritten(outcome) => self.finish_edit(outcome),
            FleetCommand::Stop(grace, reply) => self.stop(grace, reply),
        }
    }

    /// Answers with the ready workers, or queues the caller until there are any.
    pub(super) fn ensure_ready(&mut self, id: &str, caller: Caller) {
        if self.stopping {
            return answer(caller.reply, Err(stopping()));
        }
        if caller.want.lost.is_some_and(|lost| lost <= self.slot(id).unloaded) {
            return answer(caller.reply, Err(unloaded(id)));
        }
        if let Some(keep) = caller.want.keep_alive {
            let slot = self.slot(id);
            (slot.held, slot.asked) = (keep, KeepAlive::Default);
        }
        let now = Instant::now();
        let ready = self.ready_addresses(id);
        if !ready.is_empty() {
            // The caller is about to send a request. Its worker must not end as idle before that.
            for worker in self.workers.values_mut().filter(|worker| worker.model == id) {
                worker.process.touch(now);
            }
            self.slot(id).wanted = true;
            return answer(caller.reply, Ok(ready));
        }
        if let Some(error) = self.unsupported(id).or_else(|| self.silent(id)) {
            return answer(caller.reply, Err(error));
        }
        match self.slot(id).failures.verdict(now) {
            Verdict::Refuse(error) => answer(caller.reply, Err(error)),
            Verdict::Go | Verdict::Wait(_) => self.slot(id).callers.push(caller),
        }
    }

    /// Sets the lifetime when idle of a model that runs, by its latest request.
    pub(super) fn set_keep_alive(&mut self, id: &str, keep: KeepAlive) {
        if self.workers_of(id).next().is_some() {
            self.slot(id).asked = keep;
        }
    }

    pub(super) fn unload(&mut self, id: &str, force: bool, reply: Reply<Result<()>>) {
        self.slot(id).unloaded = self.incarnations;
        self.cancel_demand(id);
        let remaining: Vec<u64> = self.workers_of(id).map(|(number, _)| number).collect();
        let grace = if force { None } else { Some(DRAIN) };
        for number in &remaining {
            self.end_worker(*number, grace, "it was unloaded");
        }
        if remaining.is_empty() {
            return answer(reply, Ok(()));
        }
        self.slot(id).unloads.push(PendingUnload { remaining, reply });
    }

    /// Refuses the callers of a model that is being unloaded, and forgets its failures.
    fn cancel_demand(&mut self, id: &str) {
        let slot = self.slot(id);
        (slot.wanted, slot.preload) = (false, false);
        (slot.held, slot.asked) = <_>::default();
        slot.failures.reset();
        self.refuse_callers(id, &unloaded(id));
    }

    /// Answers every caller of a model, and its restart, with an error.
    pub(super) fn refuse_callers(&mut self, id: &str, error: &Error) {
        for caller in std::mem::take(&mut self.slot(id).callers) {
            answer(caller.reply, Err(error.clone()));
        }
        if let Some(restart) = self.slot(id).restart.take() {
            answer(restart.reply, Err(error.clone()));
        }
    }

    fn stop(&mut self, grace: Duration, reply: Reply<()>) {
        self.stopping = true;
        self.stopped = Some(reply);
        for id in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.slot(&id).preload = false;
            self.refuse_callers(&id, &stopping());
        }
        for number in self.workers.keys().copied().collect::<Vec<_>>() {
            self.end_worker(number, Some(grace), "the server is stopping");
        }
    }

    /// After every command: starts workers that can start and publishes changes.
    pub(super) fn reconcile(&mut self) {
        self.schedule_starts();
        self.publish_changes();
        if self.workers.is_empty()
            && let Some(reply) = self.stopped.take()
        {
            answer(reply, ());
        }
    }
}

/// Not retryable: another try would load the model that an operator has just unloaded.
fn unloaded(id: &str) -> Error {
    let text = format!("the model \"{id}\" was unloaded by an operator");
    Error::new(ErrorKind::Unavailable, Origin::Supervisor, text).with_disposition(Disposition::Final)
}

/// Sends an answer. The caller may have left.
pub(super) fn answer<T>(reply: Reply<T>, value: T) {
    let _ = reply.send(value);
}
