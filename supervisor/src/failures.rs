//! A circuit breaker per model: counts failures and decides when to start again. Pure.
//!
//! A worker that dies is replaced at once, and after further quick deaths with growing delays. A model that always crashes
//! therefore does not keep the machine busy. After some quick deaths the breaker opens: callers get the reason at once.

use std::time::{Duration, Instant};

use ipc_proto::Error;

use crate::backoff::Backoff;

/// The first delay after a failed load. It doubles with each failure.
pub(crate) const BROKEN: Duration = Duration::from_secs(1);
/// The longest delay after a failed load: the files may have been repaired.
const LONGEST: Duration = Duration::from_secs(30);
/// Quick deaths in a row that open the breaker.
const QUICK_DEATHS: u32 = 5;
/// Time for which the breaker stays open.
const OPEN: Duration = Duration::from_secs(30);

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

    /// A worker ended unexpectedly after `lifetime`.
    pub(crate) fn record_death(&mut self, error: Error, lifetime: Duration, now: Instant) {
        let wait = self.backoff.delay_after(lifetime);
        let open = self.backoff.quick_deaths() >= QUICK_DEATHS;
        self.record(error, now + if open { OPEN } else { wait }, open);
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
        let quick = Duration::from_secs(1);
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
        failures.record_death(error(), Duration::from_secs(600), now);
        assert_eq!(failures.verdict(now), Verdict::Go, "it had lived");
        failures.reset();
        assert_eq!(failures.last(), None);
    }
}
