//! How long to wait before starting something again that keeps ending. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A process that lived this long did not fail at starting.
const HEALTHY: Duration = Duration::from_secs(60);

/// Counts quick deaths.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    quick_deaths: u32,
}

impl Backoff {
    /// How long to wait after a process that lived for `life`. The first restart after a healthy life is immediate.
    pub(crate) fn after(&mut self, life: Duration) -> Duration {
        if life >= HEALTHY {
            *self = Self::default();
        }
        let wait = match self.quick_deaths {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(10)).min(LONGEST),
        };
        self.quick_deaths += 1;
        wait
    }

    /// Deaths since the last healthy life.
    pub(crate) fn quick_deaths(&self) -> u32 {
        self.quick_deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_start_over_after_a_healthy_life() {
        let mut backoff = Backoff::default();
        let quick = Duration::from_millis(5);
        let waits: Vec<u128> = (0..10).map(|_| backoff.after(quick).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.after(HEALTHY), Duration::ZERO);
        assert_eq!(backoff.after(quick), FIRST);
    }
}
