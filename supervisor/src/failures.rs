//! How often a model's workers failed, and when it is tried again. Pure.
//!
//! A worker that dies is replaced at once; when the next ones die as well, later and later, so that a model that always crashes
//! does not keep the machine busy. In the end the breaker opens: for a while whoever asks is told why instead.

use std::time::{Duration, Instant};

use ipc_proto::Error;

use crate::backoff::Backoff;

/// A model whose files cannot be served is not tried again sooner, and after each try twice as late.
pub(crate) const BROKEN: Duration = Duration::from_secs(1);
/// But not later than this: somebody may have mended them.
const LONGEST: Duration = Duration::from_secs(30);
/// Quick deaths in a row after which the breaker opens.
const LOOP: u32 = 5;
/// For so long.
const OPEN: Duration = Duration::from_secs(30);

/// What became of a model's starts.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    backoff: Backoff,
    broken: u32,
    last: Option<Error>,
    /// Not before.
    retry: Option<Instant>,
    /// Whoever asks until `retry` is told the reason; else they wait.
    refuse: bool,
}

/// Whether a model may be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Now.
    Go,
    /// When this has passed.
    Wait(Duration),
    /// Not now, for this reason.
    Refuse(Error),
}

impl Failures {
    /// The model's files cannot be served.
    pub(crate) fn broken(&mut self, error: Error, now: Instant) {
        let wait = BROKEN.saturating_mul(1 << self.broken.min(10)).min(LONGEST);
        self.broken += 1;
        self.fail(error, now + wait, true);
    }

    /// A worker that had lived for `life` ended unasked.
    pub(crate) fn died(&mut self, error: Error, life: Duration, now: Instant) {
        let wait = self.backoff.after(life);
        let open = self.backoff.quick_deaths() >= LOOP;
        self.fail(error, now + if open { OPEN } else { wait }, open);
    }

    fn fail(&mut self, error: Error, retry: Instant, refuse: bool) {
        self.last = Some(error);
        self.retry = Some(retry);
        self.refuse = refuse;
    }

    /// A worker serves: its files are all right. That it lives is not said yet.
    pub(crate) fn served(&mut self) {
        self.broken = 0;
        self.refuse = false;
        self.last = None;
    }

    /// Somebody who knows better wants it tried now.
    pub(crate) fn forgive(&mut self) {
        *self = Self::default();
    }

    /// Whether to start it.
    pub(crate) fn verdict(&self, now: Instant) -> Verdict {
        match (self.retry, &self.last) {
            (Some(retry), Some(error)) if retry > now && self.refuse => Verdict::Refuse(error.clone()),
            (Some(retry), _) if retry > now => Verdict::Wait(retry - now),
            _ => Verdict::Go,
        }
    }

    /// Why it does not run, if that is for a failure.
    pub(crate) fn last(&self) -> Option<&Error> {
        self.last.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use ipc_proto::{ErrorKind, Source};

    use super::*;

    fn error() -> Error {
        Error::new(ErrorKind::ModelBroken, Source::Worker, "no")
    }

    #[test]
    fn a_broken_model_is_tried_again_later_and_later() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        assert_eq!(failures.verdict(now), Verdict::Go);
        for seconds in [1, 2, 4, 8, 16, 30, 30] {
            failures.broken(error(), now);
            let almost = now + Duration::from_millis(seconds * 1000 - 1);
            assert_eq!(failures.verdict(almost), Verdict::Refuse(error()));
            assert_eq!(failures.verdict(now + Duration::from_secs(seconds)), Verdict::Go);
        }
        failures.served();
        failures.broken(error(), now);
        assert_eq!(failures.verdict(now + BROKEN), Verdict::Go);
    }

    #[test]
    fn a_loop_of_crashes_opens_the_breaker() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let quick = Duration::from_secs(1);
        failures.died(error(), quick, now);
        assert_eq!(failures.verdict(now), Verdict::Go, "the first is replaced at once");
        for ms in [100, 200, 400] {
            failures.served();
            failures.died(error(), quick, now);
            assert_eq!(failures.verdict(now), Verdict::Wait(Duration::from_millis(ms)));
        }
        failures.died(error(), quick, now);
        assert_eq!(failures.verdict(now), Verdict::Refuse(error()));
        assert_eq!(failures.verdict(now + OPEN), Verdict::Go);
        failures.died(error(), Duration::from_secs(600), now);
        assert_eq!(failures.verdict(now), Verdict::Go, "it had lived");
        failures.forgive();
        assert_eq!(failures.last(), None);
    }
}
