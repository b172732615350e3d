//! Replacing a model's workers, one after another: each new one serves before an old one drains, where there is room for both; else one
//! old one goes first, and what it had is the new one's.

use std::time::{Duration, Instant};

use ipc_proto::supervisor::{Pressure, WorkerState};
use ipc_proto::{Error, ErrorKind, Result, Source};

use super::Reply;
use super::calls::{DRAIN, answer};
use super::owner::{Owner, Restarting};
use crate::eviction::{Plan, plan};

/// A replacement that finds no room for so long is given up; the workers that are left stay as they are.
const LONGEST_WAIT: Duration = Duration::from_secs(120);

impl Restarting {
    /// Whether nothing is left to be done.
    fn is_done(&self) -> bool {
        self.old.is_empty() && self.new.is_none() && !self.owed
    }
}

impl Owner {
    /// Begins to replace a model's workers.
    pub(super) fn restart(&mut self, name: &str, reply: Reply<Result<()>>) {
        let id = match self.resolve(name) {
            Ok(id) => id,
            Err(error) => return answer(reply, Err(error)),
        };
        self.slot(&id).failures.forgive();
        let old = self.of(&id).filter(|(_, worker)| {
            matches!(worker.process.state(), WorkerState::Ready | WorkerState::Starting)
        });
        let old: Vec<u64> = old.map(|(number, _)| number).collect();
        if old.is_empty() {
            return answer(reply, Ok(()));
        }
        let restart = Restarting { old, new: None, owed: false, since: Instant::now(), reply };
        if let Some(earlier) = self.slot(&id).restart.replace(restart) {
            let text = format!("another restart of \"{id}\" took its place");
            let error = Error::new(ErrorKind::Cancelled, Source::Supervisor, text);
            answer(earlier.reply, Err(error));
        }
    }

    /// Starts the workers that take the place of others.
    pub(super) fn replace(&mut self, now: Instant) {
        let open =
            self.slots.iter().filter(|(_, slot)| slot.restart.as_ref().is_some_and(|r| r.new.is_none()));
        for id in open.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            if self.is_resizing(now) {
                return;
            }
            self.replace_one(&id, now);
        }
    }

    fn replace_one(&mut self, id: &str, now: Instant) {
        let Some(since) = self.slot(id).restart.as_ref().map(|restart| restart.since) else { return };
        let Some(need) = self.need(id) else {
            let text = format!("the model \"{id}\" is gone from the disk");
            return self.end_restart(id, Err(Error::new(ErrorKind::ModelNotFound, Source::Client, text)));
        };
        let calm = self.pressure == Pressure::Normal;
        let step =
            calm.then(|| plan(self.ledger.budget(), &need, &self.residents(now), Duration::ZERO, false));
        match step {
            Some(Plan::Start { kv }) => {
                let new = self.start(id, need, kv, now);
                if let Some(restart) = &mut self.slot(id).restart {
                    restart.new = Some(new);
                }
            }
            Some(Plan::Shrink(sizes)) => self.shrink(&sizes, now),
            _ if now.saturating_duration_since(since) > LONGEST_WAIT => {
                let text = format!("there is no room for a new worker of \"{id}\": the restart was given up");
                self.end_restart(id, Err(Error::new(ErrorKind::Unavailable, Source::Supervisor, text)));
            }
            Some(_) if !self.is_giving_back() => self.go_first(id, now),
            // There was too little, or what is on its way back may be enough.
            _ => {}
        }
    }

    /// Whether a worker is ending, and its memory about to come back.
    fn is_giving_back(&self) -> bool {
        let ends = |state| matches!(state, WorkerState::Draining | WorkerState::Stopping);
        self.workers.values().any(|worker| ends(worker.process.state()))
    }

    /// There is no room for a worker more: an old one ends before its replacement begins.
    fn go_first(&mut self, id: &str, now: Instant) {
        let serving = self.count(id, &[WorkerState::Ready, WorkerState::Starting]);
        let Some(restart) = &mut self.slot(id).restart else { return };
        // One at a time is missing. Others took its memory: it is waited for.
        if restart.owed {
            return;
        }
        if serving > 1 && !restart.old.is_empty() {
            let old = restart.old.remove(0);
            restart.owed = true;
            return self.end(old, Some(DRAIN), "it is restarted");
        }
        // The only one. Who asks meanwhile waits, and this restart like them.
        let Some(restart) = self.slot(id).restart.take() else { return };
        for old in restart.old {
            self.end(old, Some(DRAIN), "it is restarted");
        }
        self.call(id, restart.reply, now);
    }

    /// Waits for a model like a caller who only wants to know whether it comes.
    fn call(&mut self, id: &str, reply: Reply<Result<()>>, now: Instant) {
        let (ready, answer) = tokio::sync::oneshot::channel();
        tokio::spawn(async move {
            let outcome = answer.await.unwrap_or_else(|_| Err(super::stopping()));
            let _ = reply.send(outcome.map(|_| ()));
        });
        let want = ipc_proto::supervisor::Want::model(id);
        self.slot(id).callers.push(super::Caller { want, since: now, reply: ready });
    }

    /// A worker serves. Where it takes the place of others, one of them may end.
    pub(super) fn replaced(&mut self, id: &str, number: u64) {
        let Some(restart) = self.slot(id).restart.as_mut().filter(|restart| restart.new == Some(number))
        else {
            return;
        };
        (restart.new, restart.since) = (None, Instant::now());
        let owed = std::mem::take(&mut restart.owed);
        let old = (!owed && !restart.old.is_empty()).then(|| restart.old.remove(0));
        let is_done = restart.is_done();
        if let Some(old) = old {
            self.end(old, Some(DRAIN), "it was replaced");
        }
        if is_done {
            self.end_restart(id, Ok(()));
        }
    }

    /// A worker is gone. A restart whose new worker did not come fails, and leaves the old ones as they are. One whose old workers
    /// are all gone before there was room for a new one waits for the model like everybody else: it would start one more otherwise.
    pub(super) fn mend_restart(&mut self, id: &str, number: u64) {
        let nobody = self.count(id, &[WorkerState::Ready, WorkerState::Starting]) == 0;
        let Some(restart) = &mut self.slot(id).restart else { return };
        if restart.new == Some(number) {
            let text = format!("the new worker for \"{id}\" did not come");
            return self.end_restart(id, Err(Error::new(ErrorKind::Unavailable, Source::Supervisor, text)));
        }
        // An old one that died by itself is to be replaced all the same.
        let before = restart.old.len();
        restart.old.retain(|old| *old != number);
        restart.owed |= restart.old.len() < before;
        if nobody
            && restart.new.is_none()
            && let Some(restart) = self.slot(id).restart.take()
        {
            self.call(id, restart.reply, Instant::now());
        }
    }

    fn end_restart(&mut self, id: &str, outcome: Result<()>) {
        if let Some(restart) = self.slot(id).restart.take() {
            answer(restart.reply, outcome);
        }
    }
}
