//! Delays between restarts of a process that keeps ending. Pure.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A process with this lifetime did not fail at its start.
const HEALTHY: Duration = Duration::from_secs(60);

/// Counts quick deaths.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backoff {
    quick_deaths: u32,
}

impl Backoff {
    /// The delay after a process with this lifetime. The first restart after a healthy lifetime is immediate.
    pub(crate) fn delay_after(&mut self, lifetime: Duration) -> Duration {
        if lifetime >= HEALTHY {
            *self = Self::default();
        }
        let wait = match self.quick_deaths {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(10)).min(LONGEST),
        };
        self.quick_deaths += 1;
        wait
    }

    /// Deaths since the last healthy lifetime.
    pub(crate) fn quick_deaths(&self) -> u32 {
        self.quick_deaths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_limit_and_reset_after_a_healthy_lifetime() {
        let mut backoff = Backoff::default();
        let quick = Duration::from_millis(5);
        let waits: Vec<u128> = (0..10).map(|_| backoff.delay_after(quick).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.delay_after(HEALTHY), Duration::ZERO);
        assert_eq!(backoff.delay_after(quick), FIRST);
    }
}
