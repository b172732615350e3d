//! When a silent stream sends a keep-alive.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// A stream is silent for at most this long. Loading and long prompts take longer than the read timeouts of clients.
pub(super) const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);

/// The silence of a stream. Its timer runs on whatever is written, because setting one for each token would cost more than
/// the rest of the wait.
pub(super) struct Silence {
    ticks: Interval,
    is_broken: bool,
}

impl Silence {
    /// Silence that begins now.
    pub(super) fn new() -> Self {
        Self::with_ticks(KEEP_ALIVE_INTERVAL / 2)
    }

    fn with_ticks(period: Duration) -> Self {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, is_broken: true }
    }

    /// Something was written.
    pub(super) fn interrupt(&mut self) {
        self.is_broken = true;
    }

    /// Waits until a keep-alive is due: nothing was written between two ticks, that is for 5 to 10 seconds. Dropping the call
    /// loses nothing.
    pub(super) async fn due(&mut self) {
        loop {
            self.ticks.tick().await;
            if !std::mem::replace(&mut self.is_broken, false) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_a_tick_without_a_write_before_it_is_due() {
        let tick = Duration::from_millis(10);
        let (mut silence, start) = (Silence::with_ticks(tick), Instant::now());
        for (writes, ticks) in [(false, 2), (false, 3), (true, 5), (false, 6)] {
            if writes {
                silence.interrupt();
            }
            silence.due().await;
            assert!(start.elapsed() >= tick * ticks, "{ticks}: {:?}", start.elapsed());
        }
    }
}
