//! Whether a process gives signs of life. Pure.

use std::time::{Duration, Instant};

/// Interval between two checks.
pub(super) const CHECK: Duration = Duration::from_secs(1);
/// The least time allowed for the first sign: the program may come from a slow disk, and it opens its database first.
const FIRST_SIGN: Duration = Duration::from_secs(30);
/// The least limit. A sign comes each second, and a busy machine delays it.
const SHORTEST: Duration = Duration::from_secs(5);
/// Checks are more frequent. A longer gap between two means that the supervisor itself did not run.
const LONGEST_GAP: Duration = Duration::from_secs(2);

/// The signs of life of one process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pulse {
    limit: Duration,
    /// Whether it has given a sign.
    begun: bool,
    /// The time of the last sign, at first of the start.
    alive_at: Instant,
    /// The time of the last check.
    checked_at: Instant,
}

impl Pulse {
    /// A process that starts. After `limit` without a sign it is hung.
    pub(super) fn start(limit: Duration, now: Instant) -> Self {
        Self { limit: limit.max(SHORTEST), begun: false, alive_at: now, checked_at: now }
    }

    /// Records a sign of life.
    pub(super) fn beat(&mut self, now: Instant) {
        (self.begun, self.alive_at) = (true, now);
    }

    /// Checks for silence beyond the limit. A time in which the supervisor itself did not run counts as none.
    pub(super) fn is_hung(&mut self, now: Instant) -> bool {
        let gap = now.saturating_duration_since(self.checked_at);
        self.checked_at = now;
        if gap > LONGEST_GAP {
            self.alive_at += gap;
        }
        let limit = if self.begun { self.limit } else { self.limit.max(FIRST_SIGN) };
        now.saturating_duration_since(self.alive_at) > limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks each second from `from` to `to` seconds after `start`. Returns the second of the first that finds it hung.
    fn hangs_at(pulse: &mut Pulse, start: Instant, from: u64, to: u64) -> Option<u64> {
        (from..=to).find(|second| pulse.is_hung(start + Duration::from_secs(*second)))
    }

    #[test]
    fn silence_beyond_the_limit_is_a_hang() {
        let now = Instant::now();
        let mut pulse = Pulse::start(Duration::from_secs(10), now);
        assert_eq!(hangs_at(&mut pulse, now, 1, 20), None, "it has not given its first sign yet");
        pulse.beat(now + Duration::from_secs(20));
        assert_eq!(hangs_at(&mut pulse, now, 21, 60), Some(31));
        let mut silent = Pulse::start(Duration::from_secs(1), now);
        assert_eq!(hangs_at(&mut silent, now, 1, 60), Some(31));
    }

    #[test]
    fn time_in_which_the_supervisor_was_stopped_does_not_count() {
        let now = Instant::now();
        let mut pulse = Pulse::start(Duration::from_secs(10), now);
        pulse.beat(now);
        assert_eq!(hangs_at(&mut pulse, now, 1, 5), None);
        assert!(!pulse.is_hung(now + Duration::from_secs(500)));
        assert_eq!(hangs_at(&mut pulse, now, 501, 520), Some(506));
    }
}
