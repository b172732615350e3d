//! What others ask of the fleet.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use ipc_proto::supervisor::{KeepAlive, ModelSettings, WorkerState};
use ipc_proto::{Error, ErrorKind, Result, Source};

use super::owner::{Owner, Unloading};
use super::{Caller, Command, Reply, stopping};
use crate::failures::Verdict;

/// How long the requests of a worker that is unloaded may take to end.
pub(super) const DRAIN: Duration = Duration::from_secs(30);

impl Owner {
    pub(super) fn obey(&mut self, command: Command) {
        match command {
            Command::Ensure(caller) => self.ensure(caller),
            Command::Models(reply) => answer(reply, self.models()),
            Command::Pool(reply) => answer(reply, self.pool()),
            Command::KeepAlive(name, keep, reply) => {
                let set = |owner: &mut Self, id: &str| owner.keep(id, keep);
                answer(reply, self.for_model(&name, set));
            }
            Command::Unload(name, force, reply) => self.unload(&name, force, reply),
            Command::Restart(name, reply) => self.restart(&name, reply),
            Command::Pin(name, pinned, reply) => {
                let set = |owner: &mut Self, id: &str| owner.kept.pin(id, pinned).map_err(|e| not_kept(&e));
                answer(reply, self.for_model(&name, set).flatten());
            }
            Command::Settings(name, reply) => {
                let get = |owner: &mut Self, id: &str| owner.settings(id);
                answer(reply, self.for_model(&name, get));
            }
            Command::SetSettings(name, settings, reply) => answer(reply, self.set_settings(&name, settings)),
            Command::Watch(revision, reply) => self.news.watch(revision, reply),
            Command::Report(number, report) => self.report(number, report),
            Command::Stop(grace, reply) => self.stop(grace, reply),
        }
    }

    fn for_model<T>(&mut self, name: &str, act: impl FnOnce(&mut Self, &str) -> T) -> Result<T> {
        let id = self.resolve(name)?;
        Ok(act(self, &id))
    }

    fn ensure(&mut self, caller: Caller) {
        if self.stopping {
            return answer(caller.reply, Err(stopping()));
        }
        let id = match self.resolve(&caller.want.model) {
            Ok(id) => id,
            Err(error) => return answer(caller.reply, Err(error)),
        };
        if caller.want.lost.is_some_and(|lost| lost <= self.slot(&id).unloaded) {
            return answer(caller.reply, Err(unloaded(&id)));
        }
        if let Some(keep) = caller.want.keep_alive {
            let slot = self.slot(&id);
            (slot.held, slot.asked) = (keep, KeepAlive::Default);
        }
        let now = Instant::now();
        let ready = self.ready(&id);
        if !ready.is_empty() {
            // Who is about to send a request finds the worker it was told of.
            for worker in self.workers.values_mut().filter(|worker| worker.model == id) {
                worker.process.touch(now);
            }
            self.slot(&id).wanted = true;
            return answer(caller.reply, Ok(ready));
        }
        if let Some(error) = self.unserved(&id) {
            return answer(caller.reply, Err(error));
        }
        match self.slot(&id).failures.verdict(now) {
            Verdict::Refuse(error) => answer(caller.reply, Err(error)),
            Verdict::Go | Verdict::Wait(_) => self.slot(&id).callers.push(caller),
        }
    }

    /// A request said how long its model is to stay, or that nothing special is wanted any more.
    fn keep(&mut self, id: &str, keep: KeepAlive) {
        if self.of(id).next().is_some() {
            self.slot(id).asked = keep;
        }
    }

    /// Loads what is to be there from the beginning.
    pub(super) fn preload(&mut self) {
        let ids: BTreeSet<String> = self.names().filter(|id| self.settings(id).preload).cloned().collect();
        for id in ids {
            if self.registry.folder(&id).is_some() {
                self.slot(&id).preload = true;
            } else {
                tracing::warn!(model = id, "a model that is to be preloaded does not exist");
            }
        }
    }

    fn unload(&mut self, name: &str, force: bool, reply: Reply<Result<()>>) {
        let id = match self.resolve(name) {
            Ok(id) => id,
            Err(error) => return answer(reply, Err(error)),
        };
        self.slot(&id).unloaded = self.incarnations;
        self.give_up(&id);
        self.end_all(&id, (!force).then_some(DRAIN), "it was unloaded");
        let left: Vec<u64> = self.of(&id).map(|(number, _)| number).collect();
        if left.is_empty() {
            return answer(reply, Ok(()));
        }
        self.slot(&id).unloading.push(Unloading { left, reply });
    }

    /// Nobody waits any more for a model that is being unloaded.
    fn give_up(&mut self, id: &str) {
        let slot = self.slot(id);
        (slot.wanted, slot.preload) = (false, false);
        (slot.held, slot.asked) = <_>::default();
        slot.failures.forgive();
        self.fail(id, &unloaded(id));
    }

    /// Tells everybody who waits for a model that it does not come.
    pub(super) fn fail(&mut self, id: &str, error: &Error) {
        for caller in std::mem::take(&mut self.slot(id).callers) {
            answer(caller.reply, Err(error.clone()));
        }
        if let Some(restart) = self.slot(id).restart.take() {
            answer(restart.reply, Err(error.clone()));
        }
    }

    fn end_all(&mut self, id: &str, grace: Option<Duration>, reason: &str) {
        for number in self.of(id).map(|(number, _)| number).collect::<Vec<_>>() {
            self.end(number, grace, reason);
        }
    }

    fn set_settings(&mut self, name: &str, settings: ModelSettings) -> Result<()> {
        settings.check()?;
        let id = self.resolve(name)?;
        self.kept.set(&id, settings).map_err(|e| not_kept(&e))?;
        // Fewer workers than there are: the youngest go.
        let most = self.settings(&id).replicas as usize;
        let there: Vec<u64> = self
            .of(&id)
            .filter(|(_, worker)| {
                matches!(worker.process.state(), WorkerState::Ready | WorkerState::Starting)
            })
            .map(|(number, _)| number)
            .collect();
        for number in there.into_iter().skip(most) {
            self.end(number, Some(DRAIN), "it has more workers than are set");
        }
        Ok(())
    }

    fn stop(&mut self, grace: Duration, reply: Reply<()>) {
        self.stopping = true;
        self.stopped = Some(reply);
        for id in self.slots.keys().cloned().collect::<Vec<_>>() {
            self.slot(&id).preload = false;
            self.fail(&id, &stopping());
        }
        for number in self.workers.keys().copied().collect::<Vec<_>>() {
            self.end(number, Some(grace), "the server is stopping");
        }
    }

    /// After every event: starts what can start, and tells what has changed.
    pub(super) fn settle(&mut self) {
        self.pump();
        self.tell();
        if self.workers.is_empty()
            && let Some(reply) = self.stopped.take()
        {
            answer(reply, ());
        }
    }
}

/// What a request hears whose model was taken away on purpose: trying again would load it.
fn unloaded(id: &str) -> Error {
    let text = format!("the model \"{id}\" was unloaded by an operator");
    Error::new(ErrorKind::Unavailable, Source::Supervisor, text).retryable(false)
}

fn not_kept(cause: &std::io::Error) -> Error {
    tracing::error!(%cause, "settings cannot be written");
    let text = format!("nothing was set, since it cannot be written down: {cause}");
    Error::new(ErrorKind::Internal, Source::Supervisor, text)
}

/// Who asked may have left.
pub(super) fn answer<T>(reply: Reply<T>, value: T) {
    let _ = reply.send(value);
}
