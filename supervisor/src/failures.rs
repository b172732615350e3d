//! A circuit breaker per model: counts failures and decides when to start again. Pure.
//!
//! A worker that dies is replaced at once, and after further quick deaths with growing delays. A model that always crashes
//! therefore does not keep the machine busy. After some quick deaths the breaker opens: callers get the reason at once.
//! A death that a request is to blame for does not count: the model is not at fault.

use std::time::{Duration, Instant};

use ipc_proto::Error;

use crate::backoff::{Backoff, Death};

/// The first delay after a failed load. It doubles with each failure.
pub(crate) const BROKEN: Duration = Duration::from_secs(1);
/// The longest delay after a failed load: the files may have been repaired.
const LONGEST: Duration = Duration::from_secs(30);
/// Quick deaths in a row that open the breaker.
const QUICK_DEATHS: usize = 5;
/// Time for which the breaker stays open.
const OPEN: Duration = Duration::from_secs(30);
/// Deaths that still count after that time. Otherwise one more would open the breaker again.
const KEPT: usize = 2;

/// The failures of one model.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    backoff: Backoff,
    /// Failed loads in a row.
    broken: u32,
    last: Option<Error>,
    /// No start before this time.
    retry: Option<Instant>,
    /// Until `retry`, callers are refused. Otherwise they wait.
    refuse: bool,
}

/// Whether a model may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may start now.
    Go,
    /// It may start after this time.
    Wait(Duration),
    /// It may not start now, for this reason.
    Refuse(Error),
}

impl Failures {
    /// A load failed because of the model's files.
    pub(crate) fn record_broken(&mut self, error: Error, now: Instant) {
        let wait = BROKEN.saturating_mul(1 << self.broken.min(10)).min(LONGEST);
        self.broken += 1;
        self.record(error, now + wait, true);
    }

    /// A worker ended unexpectedly.
    pub(crate) fn record_death(&mut self, error: Error, death: Death, now: Instant) {
        let wait = self.backoff.delay_after(death, now);
        let open = self.backoff.quick_deaths() >= QUICK_DEATHS;
        if open {
            self.backoff.keep_last(KEPT);
        }
        self.record(error, now + if open { OPEN } else { wait }, open);
    }

    /// A request was to blame for the death of this worker.
    pub(crate) fn excuse(&mut self, process: u64) {
        if self.backoff.forget(process) {
            self.record_success();
            self.retry = None;
        }
    }

    fn record(&mut self, error: Error, retry: Instant, refuse: bool) {
        self.last = Some(error);
        self.retry = Some(retry);
        self.refuse = refuse;
    }

    /// A worker serves, so the files are valid. Quick deaths still count: it may crash again.
    pub(crate) fn record_success(&mut self) {
        self.broken = 0;
        self.refuse = false;
        self.last = None;
    }

    /// Forgets all failures, because an operator wants another try.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        match (self.retry, &self.last) {
            (Some(retry), Some(error)) if retry > now && self.refuse => Verdict::Refuse(error.clone()),
            (Some(retry), _) if retry > now => Verdict::Wait(retry - now),
            _ => Verdict::Go,
        }
    }

    /// The last failure, unless a worker has served since.
    pub(crate) fn last(&self) -> Option<&Error> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::{ErrorKind, Origin};

    use super::*;

    fn error() -> Error {
        Error::new(ErrorKind::ModelBroken, Origin::Worker, "no")
    }

    #[test]
    fn failed_loads_double_the_delay_up_to_a_limit() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        assert_eq!(failures.verdict(now), Verdict::Go);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            failures.record_broken(error(), now);
            let almost = now + Duration::from_millis(seconds * 1000 - 1);
            assert_eq!(failures.verdict(almost), Verdict::Refuse(error()));
            assert_eq!(failures.verdict(now + Duration::from_secs(seconds)), Verdict::Go);
        }
        failures.record_success();
        failures.record_broken(error(), now);
        assert_eq!(failures.verdict(now + BROKEN), Verdict::Go);
    }

    #[test]
    fn quick_deaths_grow_the_delay_and_open_the_breaker() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let quick = Death { process: 1, lifetime: Duration::from_secs(1), steps: 3 };
        failures.record_death(error(), quick, now);
        assert_eq!(failures.verdict(now), Verdict::Go, "the first is replaced at once");
        for ms in [100, 200, 400] {
            failures.record_success();
            failures.record_death(error(), quick, now);
            assert_eq!(failures.verdict(now), Verdict::Wait(Duration::from_millis(ms)));
        }
        failures.record_death(error(), quick, now);
        assert_eq!(failures.verdict(now), Verdict::Refuse(error()));
        assert_eq!(failures.verdict(now + OPEN), Verdict::Go);
        failures.record_death(error(), Death { lifetime: Duration::from_secs(600), ..quick }, now);
        assert_eq!(failures.verdict(now), Verdict::Go, "it had lived");
        failures.reset();
        assert_eq!(failures.last(), None);
    }

    /// Five deaths in a few seconds once made every later one an outage of thirty seconds.
    #[test]
    fn breaker_that_was_open_does_not_open_at_the_next_death() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let quick = |process| Death { process, lifetime: Duration::from_secs(5), steps: 3 };
        for process in 1..=5 {
            failures.record_death(error(), quick(process), now);
        }
        let later = now + OPEN;
        let lived = Death { process: 6, lifetime: Duration::from_secs(16), steps: 300 };
        failures.record_death(error(), lived, later);
        assert!(matches!(failures.verdict(later), Verdict::Wait(wait) if wait < Duration::from_secs(1)));
    }

    #[test]
    fn death_that_a_request_is_to_blame_for_does_not_count() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for process in 1..=5 {
            failures.record_death(error(), Death { process, lifetime: Duration::ZERO, steps: 0 }, now);
        }
        assert_eq!(failures.verdict(now), Verdict::Refuse(error()));
        failures.excuse(9);
        assert_eq!(failures.verdict(now), Verdict::Refuse(error()), "no such worker");
        failures.excuse(5);
        assert_eq!((failures.verdict(now), failures.last()), (Verdict::Go, None));
    }
}
