//! Delays between restarts of a process that keeps ending. Pure.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(10);
/// A process with this lifetime did not fail at its start.
const HEALTHY: Duration = Duration::from_secs(60);
/// A death counts for this time.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// Steps for which an earlier death is forgotten. About fifty short answers take as many.
const STEPS: u64 = 1000;

/// The end of a process that should have gone on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Death {
    /// The number of the process.
    pub(crate) process: u64,
    /// The time for which it lived.
    pub(crate) lifetime: Duration,
    /// The steps that it made for its requests.
    pub(crate) steps: u64,
}

/// Counts quick deaths. Time and good work make it forget them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    /// The numbers of the processes and the times of their deaths, the oldest first.
    deaths: VecDeque<(u64, Instant)>,
}

impl Backoff {
    /// The delay after a death. The first restart after a healthy lifetime is immediate.
    pub(crate) fn delay_after(&mut self, death: Death, now: Instant) -> Duration {
        self.deaths.retain(|(_, at)| now.saturating_duration_since(*at) < FORGOTTEN);
        let earned = usize::try_from(death.steps / STEPS).unwrap_or(usize::MAX);
        self.deaths.drain(..earned.min(self.deaths.len()));
        if death.lifetime >= HEALTHY {
            self.deaths.clear();
        }
        let wait = match self.deaths.len() {
            0 => Duration::ZERO,
            n => FIRST.saturating_mul(1 << (n - 1).min(10)).min(LONGEST),
        };
        self.deaths.push_back((death.process, now));
        wait
    }

    /// Deaths that still count.
    pub(crate) fn quick_deaths(&self) -> usize {
        self.deaths.len()
    }

    /// Forgets all but the last `count` deaths.
    pub(crate) fn keep_last(&mut self, count: usize) {
        let surplus = self.deaths.len().saturating_sub(count);
        self.deaths.drain(..surplus);
    }

    /// Forgets the death of one process. Returns whether it was the last.
    pub(crate) fn forget(&mut self, process: u64) -> bool {
        let was_last = self.deaths.back().is_some_and(|(last, _)| *last == process);
        self.deaths.retain(|(other, _)| *other != process);
        was_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Death = Death { process: 1, lifetime: Duration::from_millis(5), steps: 0 };

    #[test]
    fn delays_double_up_to_a_limit_and_reset_after_a_healthy_lifetime() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let waits: Vec<u128> = (0..10).map(|_| backoff.delay_after(QUICK, now).as_millis()).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
        assert_eq!(backoff.delay_after(Death { lifetime: HEALTHY, ..QUICK }, now), Duration::ZERO);
        assert_eq!(backoff.delay_after(QUICK, now), FIRST);
    }

    #[test]
    fn deaths_are_forgotten_by_time_and_by_steps() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for process in 0..4 {
            backoff.delay_after(Death { process, ..QUICK }, now + FORGOTTEN / 2 * (process / 2) as u32);
        }
        assert_eq!(backoff.quick_deaths(), 4);
        backoff.delay_after(QUICK, now + FORGOTTEN);
        assert_eq!(backoff.quick_deaths(), 3, "the first two are old");
        backoff.delay_after(Death { steps: 2 * STEPS, ..QUICK }, now + FORGOTTEN);
        assert_eq!(backoff.quick_deaths(), 2, "its work outweighs two");
        assert!(!backoff.forget(7) && backoff.forget(1));
        assert_eq!(backoff.quick_deaths(), 0);
    }
}
