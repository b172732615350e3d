//! Tells whoever watches what has changed.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use ipc_proto::supervisor::{Change, Changes, ModelState, Pressure, Subject};

use super::Reply;
use super::calls::answer;
use super::owner::Owner;

/// Changes that are kept for watchers who come late.
const KEPT: usize = 256;

/// The latest changes, and who waits for the next.
#[derive(Default)]
pub(super) struct News {
    revision: u64,
    changes: VecDeque<Change>,
    waiting: Vec<(u64, Reply<Changes>)>,
    /// What was told of each model last: its state and who was ready.
    told: BTreeMap<String, (ModelState, Vec<u64>)>,
    /// How the system was doing, as told last.
    pressure: Pressure,
}

impl News {
    /// Answers with what came after `revision`, at once if there is anything.
    pub(super) fn watch(&mut self, revision: u64, reply: Reply<Changes>) {
        self.waiting.retain(|(_, reply)| !reply.is_closed());
        if revision == self.revision && revision > 0 {
            return self.waiting.push((revision, reply));
        }
        let changes = self.since(revision);
        answer(reply, changes);
    }

    /// Whether anybody waits for news.
    pub(super) fn is_watched(&self) -> bool {
        self.waiting.iter().any(|(_, reply)| !reply.is_closed())
    }

    fn since(&self, revision: u64) -> Changes {
        if revision == 0 {
            // The first revision is 1, so that a watcher who knows it waits.
            return Changes { revision: self.revision, ..Changes::default() };
        }
        let oldest = self.revision - self.changes.len() as u64;
        let changes = self.changes.iter().filter(|change| change.revision > revision).cloned().collect();
        // A revision that was never told is of another supervisor.
        Changes { revision: self.revision, lost: revision < oldest || revision > self.revision, changes }
    }

    /// Tells of one change, with the next revision.
    fn tell(&mut self, change: Change) {
        self.revision += 1;
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        self.push(Change { revision: self.revision, at_ms, ..change });
        self.wake();
    }

    fn push(&mut self, change: Change) {
        if self.changes.len() == KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }

    fn wake(&mut self) {
        for (revision, reply) in std::mem::take(&mut self.waiting) {
            let changes = self.since(revision);
            answer(reply, changes);
        }
    }
}

impl Owner {
    /// Tells of everything that is not as it was told last.
    pub(super) fn tell(&mut self) {
        self.news.revision = self.news.revision.max(1);
        let mut changed = Vec::new();
        for id in self.slots.keys() {
            let now = (outline(&self.state(id)), self.ready(id).iter().map(|at| at.incarnation).collect());
            if self.news.told.get(id).unwrap_or(&(ModelState::Stopped, Vec::new())) != &now {
                changed.push((id.clone(), now));
            }
        }
        for (id, now) in changed {
            self.news.told.insert(id.clone(), now);
            let note = self.slots.get(&id).map(|slot| slot.note.clone()).unwrap_or_default();
            let change = self.change(id, Subject::Workers, note);
            self.news.tell(change);
        }
        for (id, there) in self.registry.changed() {
            let note = if there { "its files came or changed" } else { "its files are gone" };
            let change = self.change(id, Subject::Files { there }, note.to_owned());
            self.news.tell(change);
        }
        if self.news.pressure != self.pressure {
            self.news.pressure = self.pressure;
            let (subject, note) = (Subject::Pressure(self.pressure), "memory pressure changes".to_owned());
            self.news.tell(Change { subject, note, ..Change::default() });
        }
    }

    /// A change of a model, as it is now.
    fn change(&self, id: String, subject: Subject, note: String) -> Change {
        let (state, ready) = (self.state(&id), self.ready(&id));
        Change { subject, state, ready, note, model: id, ..Change::default() }
    }
}

/// Progress is told in tenths.
fn outline(state: &ModelState) -> ModelState {
    match state {
        ModelState::Loading { loaded, total } => {
            let tenths = loaded.saturating_mul(10).checked_div(*total).unwrap_or(0);
            ModelState::Loading { loaded: tenths, total: 10 }
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn ask(news: &mut News, revision: u64) -> Option<Changes> {
        let (reply, mut answer) = oneshot::channel();
        news.watch(revision, reply);
        answer.try_recv().ok()
    }

    fn push(news: &mut News) {
        news.revision += 1;
        let change = Change { revision: news.revision, ..Change::default() };
        news.push(change);
        news.wake();
    }

    #[test]
    fn who_is_behind_hears_at_once_and_who_is_far_behind_hears_that() {
        let mut news = News { revision: 1, ..News::default() };
        assert_eq!(ask(&mut news, 0).unwrap().revision, 1);
        assert_eq!(ask(&mut news, 1), None);
        let (reply, mut answer) = oneshot::channel();
        news.watch(1, reply);
        push(&mut news);
        assert_eq!(answer.try_recv().unwrap().changes.len(), 1);
        for _ in 0..3 {
            push(&mut news);
        }
        let changes = ask(&mut news, 2).unwrap();
        assert_eq!((changes.revision, changes.lost, changes.changes.len()), (5, false, 3));
        for _ in 0..KEPT {
            push(&mut news);
        }
        assert!(ask(&mut news, 2).unwrap().lost);
        assert!(!ask(&mut news, 5).unwrap().lost);
        assert!(ask(&mut news, 10_000).unwrap().lost, "of another supervisor");
        // Watchers that left are not kept.
        for _ in 0..100 {
            ask(&mut news, 5 + KEPT as u64);
        }
        assert!(news.waiting.len() <= 1);
    }
}
