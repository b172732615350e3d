//! How far a download is, and how fast it comes.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::pull::{Event, Progress};

/// The time that a rate looks back.
const WINDOW: Duration = Duration::from_secs(5);
/// The least time between two samples.
const SPACING: Duration = Duration::from_millis(200);
/// A rate over less time would be a guess.
const SHORTEST: Duration = Duration::from_millis(500);

/// What happened in a download, for its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Its numbers or its note changed.
    Progress,
    /// It begins or ends to wait for another program, or its size is known: another one may have to run.
    Turn,
}

/// A download's numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// The model's present name on the hub.
    pub(super) present_name: Option<String>,
    /// Bytes of all files.
    pub(super) total: Option<u64>,
    /// Bytes on disk.
    pub(super) done: u64,
    pub(super) per_second: u64,
    /// What it waits for.
    pub(super) note: Option<String>,
    /// It waits for another program that downloads the same model.
    pub(super) is_held_up: bool,
}

/// Follows one download.
pub(super) struct Meter {
    state: Mutex<State>,
    /// Called after each event.
    step: Box<dyn Fn(Step) + Send + Sync>,
}

#[derive(Default)]
struct State {
    reading: Reading,
    rate: Rate,
}

impl Meter {
    pub(super) fn new(step: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self { state: Mutex::default(), step: Box::new(step) }
    }

    pub(super) fn read(&self, now: Instant) -> Reading {
        let mut state = self.state();
        let per_second = state.rate.per_second(now);
        Reading { per_second, ..state.reading.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Meter {
    fn event(&self, event: Event) {
        let step = self.state().apply(event, Instant::now());
        (self.step)(step);
    }
}

impl State {
    fn apply(&mut self, event: Event, now: Instant) -> Step {
        let reading = &mut self.reading;
        match event {
            Event::Planned { id, bytes, present, .. } => {
                *reading = Reading {
                    present_name: Some(id),
                    total: Some(bytes),
                    done: present,
                    ..Reading::default()
                };
                return Step::Turn;
            }
            // Before the plan it is the model, afterwards one of its files.
            Event::Waiting(what) => {
                reading.note = Some(format!("another program downloads {what}; this one waits for it"));
                reading.is_held_up = reading.total.is_none();
                return Step::Turn;
            }
            Event::Received { bytes, .. } => {
                reading.done = (reading.done + bytes).min(reading.total.unwrap_or(u64::MAX));
                reading.note = None;
                self.rate.add(bytes, now);
            }
            Event::Retrying { path, cause, after } => {
                reading.note = Some(format!("{path}: {cause}; again in {} s", after.as_secs_f64().ceil()));
            }
            Event::Restarted { path, lost } => {
                reading.done = reading.done.saturating_sub(lost);
                reading.note = Some(format!("{path}: what was here is damaged; it begins again"));
            }
            Event::Completed { .. } => {}
        }
        Step::Progress
    }
}

/// Bytes of the last seconds.
#[derive(Debug, Default)]
struct Rate {
    /// Times, and the bytes until then.
    samples: VecDeque<(Instant, u64)>,
    received: u64,
}

impl Rate {
    fn add(&mut self, bytes: u64, now: Instant) {
        let is_due = |(last, _): &(Instant, u64)| now.saturating_duration_since(*last) >= SPACING;
        if self.samples.back().is_none_or(is_due) {
            self.samples.push_back((now, self.received));
        }
        self.received += bytes;
    }

    fn per_second(&mut self, now: Instant) -> u64 {
        while self.samples.front().is_some_and(|(at, _)| now.saturating_duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
        let Some((since, before)) = self.samples.front() else { return 0 };
        let time = now.saturating_duration_since(*since).max(SHORTEST);
        ((self.received - before) as f64 / time.as_secs_f64()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rate_is_that_of_the_last_seconds() {
        let (mut rate, start) = (Rate::default(), Instant::now());
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(rate.per_second(start), 0);
        for step in 0..100 {
            rate.add(1000, at(step * 100));
        }
        let steady = rate.per_second(at(9_900));
        assert!((9_000..=11_000).contains(&steady), "{steady}");
        assert_eq!(rate.per_second(at(20_000)), 0, "nothing comes any more");
    }

    #[test]
    fn numbers_follow_the_events() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(state.apply(Event::Waiting("o/m".into()), now), Step::Turn);
        assert!(state.reading.is_held_up && state.reading.note.as_deref().unwrap().contains("o/m"));
        let (id, commit) = ("o/new".to_owned(), String::new());
        let plan = Event::Planned { id, commit, files: 2, bytes: 100, present: 30 };
        assert_eq!(state.apply(plan, now), Step::Turn);
        assert!(!state.reading.is_held_up && state.reading.note.is_none());
        let path = || "f".to_owned();
        assert_eq!(state.apply(Event::Received { path: path(), bytes: 40 }, now), Step::Progress);
        assert_eq!((state.reading.done, state.reading.total), (70, Some(100)));
        state.apply(Event::Waiting(path()), now);
        assert!(!state.reading.is_held_up, "other files of the model come");
        state.apply(Event::Restarted { path: path(), lost: 50 }, now);
        assert_eq!(state.reading.done, 20);
        state.apply(Event::Received { path: path(), bytes: 500 }, now);
        assert_eq!((state.reading.done, &state.reading.note), (100, &None));
    }
}
