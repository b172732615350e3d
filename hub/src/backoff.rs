//! The wait after a failure. Pure.

use std::time::Duration;

/// Failures in a row after which a download or a question gives up.
const MAX_FAILURES: u32 = 7;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(20);
/// The hub's windows of five minutes end sooner than this.
const LONGEST_ASKED: Duration = Duration::from_secs(310);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Forgets the failures: something succeeded.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// The pause after another failure; `None` if it is time to give up. `asked` is the pause that the server wants, `spread`
    /// a number from 0 to 1 by which clients that failed together return apart.
    pub(crate) fn next_pause(&mut self, asked: Option<Duration>, spread: f64) -> Option<Duration> {
        self.failures += 1;
        if self.failures >= MAX_FAILURES || asked.is_some_and(|asked| asked > LONGEST_ASKED) {
            return None;
        }
        let own = FIRST_PAUSE.saturating_mul(1 << (self.failures - 1)).min(LONGEST_PAUSE);
        let own = own.mul_f64(0.75 + spread.clamp(0.0, 1.0) / 2.0);
        Some(asked.map_or(own, |asked| asked.max(own)))
    }
}

/// A number from 0 to 1 that differs from call to call.
pub(crate) fn spread() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    f64::from(now.map_or(0, |time| time.subsec_micros() % 1000)) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_end() {
        let mut backoff = Backoff::default();
        let pauses: Vec<u128> =
            std::iter::from_fn(|| backoff.next_pause(None, 0.5)).map(|pause| pause.as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000]);
        assert_eq!(backoff.failures(), MAX_FAILURES);
        backoff.reset();
        assert_eq!(backoff.next_pause(None, 0.5), Some(FIRST_PAUSE));
    }

    #[test]
    fn server_decides_about_longer_pauses() {
        let mut backoff = Backoff::default();
        let asked = Duration::from_secs(55);
        assert_eq!(backoff.next_pause(Some(asked), 0.0), Some(asked));
        assert_eq!(backoff.next_pause(Some(Duration::from_secs(3600)), 0.0), None);
    }
}
