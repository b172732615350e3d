//! What follows from a worker's end.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ipc_proto::supervisor::{Exit, WorkerState};
use ipc_proto::{Error, ErrorKind, Source};

use super::calls::answer;
use super::owner::{Owner, Worker};
use crate::child::End;
use crate::failures::Verdict;
use crate::process::{Event, Fault};

impl Owner {
    pub(super) fn exited(&mut self, number: u64, end: &End, last_words: Vec<String>) {
        let Some(worker) = self.workers.get(&number) else { return };
        let starting = worker.process.state() == WorkerState::Starting;
        self.event(number, Event::Exited);
        self.ledger.release(number);
        let Some(worker) = self.workers.remove(&number) else { return };
        let expected = worker.process.was_asked();
        let quoted = last_words.join("\n");
        let status = match worker.reason.is_empty() {
            true => end.text.clone(),
            false => format!("{} ({})", end.text, worker.reason),
        };
        if expected {
            tracing::info!(model = worker.model, incarnation = number, status, "a worker ended");
        } else {
            tracing::error!(
                model = worker.model,
                incarnation = number,
                status,
                last_words = quoted,
                "a worker ended unasked"
            );
        }
        let id = worker.model.clone();
        self.slot(&id).last_exit = Some(Exit {
            at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()),
            incarnation: number,
            status,
            code: end.code,
            signal: end.signal,
            expected,
            last_words,
        });
        if !expected {
            self.failed(&worker, end, &quoted, starting);
        }
        self.mend_restart(&id, number);
        self.gone(&id, number);
    }

    /// A worker ended unasked.
    fn failed(&mut self, worker: &Worker, end: &End, quoted: &str, starting: bool) {
        let id = worker.model.as_str();
        let error =
            |kind, text: &str| Error::new(kind, Source::Worker, format!("the worker for \"{id}\" {text}"));
        let error = match worker.process.fault() {
            // It has told why, and everybody knows.
            Some(Fault::Broken) => return,
            Some(Fault::SlowStart) => {
                error(ErrorKind::Unavailable, "did not finish loading in time: it made no progress")
            }
            Some(Fault::Hung) => error(ErrorKind::Unavailable, "hung and was ended"),
            None if worker.pid.is_none() => {
                let error = error(ErrorKind::Internal, &end.text);
                return self.broken(id, &error);
            }
            // It ended itself: it would do so again.
            None if starting && end.signal.is_none() => {
                let text = format!("ended while loading ({}): {quoted}", end.text);
                return self.broken(id, &error(ErrorKind::ModelBroken, &text));
            }
            None => error(ErrorKind::Unavailable, &format!("ended ({}): {quoted}", end.text)),
        };
        let now = Instant::now();
        let life = worker.process.age(now);
        // Nobody has to ask for it: it is to be there.
        let stays = self.is_pinned(id) || self.settings(id).preload;
        let slot = self.slot(id);
        slot.preload |= stays;
        slot.note.clone_from(&error.message);
        slot.failures.died(error.clone(), life, now);
        if let Verdict::Refuse(_) = slot.failures.verdict(now) {
            self.fail(id, &error);
        }
    }

    /// A worker's memory is back.
    fn gone(&mut self, id: &str, number: u64) {
        let is_last = self.of(id).next().is_none();
        let slot = self.slot(id);
        if is_last && slot.callers.is_empty() && !slot.preload {
            // What was said of how long it stays was said of what is gone now.
            (slot.held, slot.asked) = <_>::default();
        }
        for unloading in &mut slot.unloading {
            unloading.left.retain(|left| *left != number);
        }
        for done in slot.unloading.extract_if(.., |unloading| unloading.left.is_empty()) {
            answer(done.reply, Ok(()));
        }
    }
}
