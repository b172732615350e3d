//! Stops asking a provider for a model that keeps failing. The breaker itself is pure but for the caller's clock.
//!
//! After [`FAILURES`] failures in a row no request is sent for [`PAUSE`]. Then one request probes the provider. Once its answer begins,
//! requests are sent again, but the next failure begins another pause. Only a complete answer ends the row: an answer that breaks off
//! is a failure, too.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipc_proto::{Error, ErrorKind, Origin};

/// Failures in a row that open the breaker.
const FAILURES: u32 = 5;
/// How long no request is sent, and how long others wait for a probe.
const PAUSE: Duration = Duration::from_secs(30);

/// The state of one model at one provider.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Breaker {
    /// Failures since the last success.
    failures: u32,
    /// The time of the next probe, once there were enough failures.
    probe_at: Option<Instant>,
}

impl Breaker {
    /// Whether a request may be sent. After a pause the first one that asks is the probe.
    ///
    /// # Errors
    /// The rest of the pause.
    fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        match self.probe_at {
            None => Ok(()),
            Some(at) if now < at => Err(at - now),
            Some(_) => {
                // A probe whose client leaves has no outcome.
                self.probe_at = Some(now + PAUSE);
                Ok(())
            }
        }
    }

    /// Ends a pause: an answer has begun.
    fn begin(&mut self) {
        self.probe_at = None;
    }

    /// Counts an answer of the provider.
    fn succeed(&mut self) {
        *self = Self::default();
    }

    /// Counts a failure of the provider. Returns whether it begins a pause.
    fn fail(&mut self, now: Instant) -> bool {
        self.failures = self.failures.saturating_add(1);
        let is_open = self.failures >= FAILURES;
        if is_open {
            self.probe_at = Some(now + PAUSE);
        }
        is_open
    }
}

/// The breakers of one provider, by model.
#[derive(Debug)]
pub(super) struct Breakers {
    /// The provider's name in the settings.
    provider: Arc<str>,
    by_model: Mutex<HashMap<String, Breaker>>,
}

impl Breakers {
    pub(super) fn new(provider: &Arc<str>) -> Self {
        Self { provider: Arc::clone(provider), by_model: Mutex::default() }
    }

    /// Lets a request for `model` pass.
    ///
    /// # Errors
    /// The rest of the pause.
    pub(super) fn admit(self: &Arc<Self>, model: &str) -> Result<Verdict, Duration> {
        self.locked().entry(model.to_owned()).or_default().admit(Instant::now())?;
        Ok(Verdict { breakers: Arc::clone(self), model: model.to_owned() })
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Breaker>> {
        self.by_model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the outcome of one request to its breaker. A request whose client leaves has none.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    breakers: Arc<Breakers>,
    model: String,
}

impl Verdict {
    /// The answer has begun.
    pub(super) fn begin(&self) {
        self.update(Breaker::begin);
    }

    /// The answer is complete.
    pub(super) fn succeed(&self) {
        self.update(Breaker::succeed);
    }

    /// The request has failed, before the answer or within it. A refusal is an answer: it does not speak against the provider.
    pub(super) fn fail(&self, error: &Error) {
        if error.origin != Origin::Upstream {
            return;
        }
        if !is_providers_fault(error) {
            return self.succeed();
        }
        let (is_open, failures) = self.update(|breaker| (breaker.fail(Instant::now()), breaker.failures));
        if is_open {
            let (provider, model) = (&*self.breakers.provider, &*self.model);
            tracing::warn!(provider, model, failures, %error, "a provider keeps failing: it is not asked for a while");
        }
    }

    fn update<R>(&self, change: impl FnOnce(&mut Breaker) -> R) -> R {
        change(self.breakers.locked().entry(self.model.clone()).or_default())
    }
}

/// Whether an error of a provider speaks against it, not against the request or the caller's rate.
fn is_providers_fault(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Upstream | ErrorKind::Timeout | ErrorKind::Overloaded | ErrorKind::Unavailable
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn failures_in_a_row_stop_requests_until_a_probe_succeeds() {
        let (mut breaker, start) = (Breaker::default(), Instant::now());
        for failure in 1..=FAILURES {
            assert_eq!(breaker.admit(start), Ok(()), "{failure}");
            assert_eq!(breaker.fail(start), failure == FAILURES);
        }
        let second = Duration::from_secs(1);
        assert_eq!(breaker.admit(start + second), Err(PAUSE - second));
        // One probe, and the others wait for it.
        assert_eq!(breaker.admit(start + PAUSE), Ok(()));
        assert_eq!(breaker.admit(start + PAUSE), Err(PAUSE));
        assert!(breaker.fail(start + PAUSE + second));
        assert_eq!(breaker.admit(start + PAUSE + second), Err(PAUSE));
        assert_eq!(breaker.admit(start + 3 * PAUSE), Ok(()));
        breaker.succeed();
        assert_eq!(breaker.admit(start + 3 * PAUSE), Ok(()));
        assert!(!breaker.fail(start + 3 * PAUSE));
    }

    #[test]
    fn answers_that_break_off_are_failures_in_a_row() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for failure in 1..=FAILURES {
            assert_eq!(breaker.admit(now), Ok(()), "{failure}");
            breaker.begin();
            assert_eq!(breaker.fail(now), failure == FAILURES);
        }
        assert_eq!(breaker.admit(now + PAUSE), Ok(()));
        breaker.begin();
        assert_eq!(breaker.admit(now + PAUSE), Ok(()), "the probe is answered: others pass");
        assert!(breaker.fail(now + PAUSE), "it breaks off: the next pause begins at once");
        assert_eq!(breaker.admit(now + PAUSE), Err(PAUSE));
    }

    #[test]
    fn refusal_and_other_models_leave_a_breaker_alone() {
        let breakers = Arc::new(Breakers::new(&"far".into()));
        let error = |kind, origin| Error::new(kind, origin, "no");
        let fail = |kind, origin| breakers.admit("m").unwrap().fail(&error(kind, origin));
        for _ in 1..FAILURES {
            fail(ErrorKind::Upstream, Origin::Upstream);
        }
        fail(ErrorKind::Timeout, Origin::Gateway);
        assert!(breakers.admit("m").is_ok(), "the gateway's own limit is no fault of the provider");
        fail(ErrorKind::InvalidRequest, Origin::Upstream);
        for _ in 1..FAILURES {
            fail(ErrorKind::Overloaded, Origin::Upstream);
        }
        assert!(breakers.admit("m").is_ok(), "the refusal was an answer");
        fail(ErrorKind::Timeout, Origin::Upstream);
        assert!(breakers.admit("m").is_err() && breakers.admit("other").is_ok());
    }

    proptest! {
        /// Whatever happens, requests are sent again after a pause.
        #[test]
        fn no_pause_is_longer_than_the_limit(steps in proptest::collection::vec((0u8..4, 0u64..90), 0..60)) {
            let (mut breaker, mut now) = (Breaker::default(), Instant::now());
            for (step, seconds) in steps {
                now += Duration::from_secs(seconds);
                match step {
                    0 => breaker.succeed(),
                    1 => drop(breaker.fail(now)),
                    2 => breaker.begin(),
                    _ => {
                        if let Err(rest) = breaker.admit(now) {
                            prop_assert!(rest <= PAUSE && breaker.failures >= FAILURES);
                        }
                    }
                }
            }
            prop_assert_eq!(breaker.admit(now + PAUSE), Ok(()));
        }
    }
}
