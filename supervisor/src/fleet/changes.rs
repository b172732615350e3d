//! Publishes changes to watchers, each with a revision.

use std::collections::{BTreeMap, VecDeque};
use std::time::{SystemTime, UNIX_EPOCH};

use ipc_proto::supervisor::{Change, Changes, ModelState, Pressure, Subject};

use super::Reply;
use super::actor::FleetActor;
use super::calls::answer;

/// Changes that a late watcher can still get.
const CAPACITY: usize = 256;

/// The latest changes, and the watchers that wait for the next.
#[derive(Default)]
pub(super) struct ChangeLog {
    revision: u64,
    changes: VecDeque<Change>,
    watchers: Vec<(u64, Reply<Changes>)>,
    /// The last published state of each model, with the incarnations of its ready workers.
    published: BTreeMap<String, (ModelState, Vec<u64>)>,
    /// As last published.
    pressure: Pressure,
}

impl ChangeLog {
    /// Answers with the changes after `revision`, once there are any.
    pub(super) fn watch(&mut self, revision: u64, reply: Reply<Changes>) {
        self.watchers.retain(|(_, reply)| !reply.is_closed());
        if revision == self.revision && revision > 0 {
            return self.watchers.push((revision, reply));
        }
        answer(reply, self.changes_since(revision));
    }

    pub(super) fn is_watched(&self) -> bool {
        self.watchers.iter().any(|(_, reply)| !reply.is_closed())
    }

    fn changes_since(&self, revision: u64) -> Changes {
        if revision == 0 {
            // The first revision is 1, so a watcher that has it waits.
            return Changes { revision: self.revision, ..Changes::default() };
        }
        let oldest = self.revision - self.changes.len() as u64;
        let changes = self.changes.iter().filter(|change| change.revision > revision).cloned().collect();
        // A revision from the future belongs to another supervisor.
        let lost = revision < oldest || revision > self.revision;
        Changes { revision: self.revision, lost, changes }
    }

    /// Gives a change the next revision and wakes the watchers.
    fn publish(&mut self, change: Change) {
        self.revision += 1;
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as u64);
        if self.changes.len() == CAPACITY {
            self.changes.pop_front();
        }
        self.changes.push_back(Change { revision: self.revision, at_ms, ..change });
        for (revision, reply) in std::mem::take(&mut self.watchers) {
            answer(reply, self.changes_since(revision));
        }
    }
}

impl FleetActor {
    /// Publishes every difference to the state that was last published.
    pub(super) fn publish_changes(&mut self) {
        self.change_log.revision = self.change_log.revision.max(1);
        let initial = (ModelState::Stopped, Vec::new());
        let mut changed = Vec::new();
        for id in self.slots.keys() {
            let incarnations = self.ready_addresses(id).iter().map(|ready| ready.incarnation).collect();
            let current = (coarse_state(&self.state(id)), incarnations);
            if self.change_log.published.get(id).unwrap_or(&initial) != &current {
                changed.push((id.clone(), current));
            }
        }
        for (id, current) in changed {
            self.change_log.published.insert(id.clone(), current);
            let note = self.slots.get(&id).map(|slot| slot.note.clone()).unwrap_or_default();
            let change = self.model_change(id, Subject::Workers, note);
            self.change_log.publish(change);
        }
        for (id, there) in self.registry.take_changed() {
            let note = if there { "its files came or changed" } else { "its files are gone" };
            let change = self.model_change(id, Subject::Files { there }, note.to_owned());
            self.change_log.publish(change);
        }
        if self.change_log.pressure != self.pressure {
            self.change_log.pressure = self.pressure;
            let (subject, note) = (Subject::Pressure(self.pressure), "memory pressure changes".to_owned());
            self.change_log.publish(Change { subject, note, ..Change::default() });
        }
    }

    /// A change with the model's current state.
    fn model_change(&self, id: String, subject: Subject, note: String) -> Change {
        let (state, ready) = (self.state(&id), self.ready_addresses(&id));
        Change { subject, state, ready, note, model: id, ..Change::default() }
    }
}

/// The state with progress in tenths, so that loading publishes ten changes at most.
fn coarse_state(state: &ModelState) -> ModelState {
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

    fn new_log() -> ChangeLog {
        ChangeLog { revision: 1, ..ChangeLog::default() }
    }

    fn watch(log: &mut ChangeLog, revision: u64) -> Option<Changes> {
        let (reply, mut answer) = oneshot::channel();
        log.watch(revision, reply);
        answer.try_recv().ok()
    }

    fn publish(log: &mut ChangeLog, count: usize) {
        for _ in 0..count {
            log.publish(Change::default());
        }
    }

    #[test]
    fn first_watch_is_answered_with_the_current_revision() {
        assert_eq!(watch(&mut new_log(), 0).unwrap().revision, 1);
    }

    #[test]
    fn watcher_that_is_up_to_date_waits_for_the_next_change() {
        let mut log = new_log();
        assert_eq!(watch(&mut log, 1), None);
        let (reply, mut answer) = oneshot::channel();
        log.watch(1, reply);
        publish(&mut log, 1);
        assert_eq!(answer.try_recv().unwrap().changes.len(), 1);
    }

    #[test]
    fn watcher_that_is_behind_is_answered_at_once() {
        let mut log = new_log();
        publish(&mut log, 4);
        let changes = watch(&mut log, 2).unwrap();
        assert_eq!((changes.revision, changes.lost, changes.changes.len()), (5, false, 3));
    }

    #[test]
    fn watcher_that_is_too_far_behind_or_ahead_learns_that_changes_are_lost() {
        let mut log = new_log();
        publish(&mut log, 4 + CAPACITY);
        assert!(watch(&mut log, 2).unwrap().lost);
        assert!(!watch(&mut log, 5).unwrap().lost);
        assert!(watch(&mut log, 10_000).unwrap().lost, "from another supervisor");
    }

    #[test]
    fn watchers_that_left_are_forgotten() {
        let mut log = new_log();
        for _ in 0..100 {
            watch(&mut log, 1);
        }
        assert!(log.watchers.len() <= 1);
    }
}
