//! Slows down those who guess the password. Pure: the caller gives the time.
//!
//! Each client address has a few free attempts. After them, each further attempt has to wait twice as long as the one before. All
//! addresses together have more free attempts and shorter waits, so that many addresses gain little. An attempt counts as failed
//! when it begins: simultaneous ones do not share one place. A success forgets the failures of its address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Attempts of an address without a wait.
pub const FREE: u32 = 5;
/// Those of all addresses together.
pub const FREE_OVERALL: u32 = 50;
/// The first wait. Each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(2);
/// The longest wait of an address.
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// The longest wait of all: somebody else's guesses must not keep the owner out for long.
const LONGEST_WAIT_OVERALL: Duration = Duration::from_secs(20);
/// Failures are forgotten so long after the last one.
const MEMORY: Duration = Duration::from_secs(3600);
/// Addresses that are remembered at most.
const MAX_CLIENTS: usize = 4096;

/// The attempts so far.
#[derive(Debug, Default)]
pub struct Limiter {
    clients: HashMap<IpAddr, Failures>,
    overall: Failures,
}

/// The failed attempts of one address, or of all.
#[derive(Debug, Clone, Copy, Default)]
struct Failures {
    count: u32,
    last: Option<Instant>,
}

/// The bounds of one address, or of all.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    free: u32,
    longest: Duration,
}

const CLIENT: Bounds = Bounds { free: FREE, longest: LONGEST_WAIT };
const OVERALL: Bounds = Bounds { free: FREE_OVERALL, longest: LONGEST_WAIT_OVERALL };

impl Failures {
    /// The time until the next attempt is allowed.
    fn wait(&self, bounds: Bounds, now: Instant) -> Duration {
        let Some(last) = self.last.filter(|last| now.saturating_duration_since(*last) < MEMORY) else {
            return Duration::ZERO;
        };
        let Some(beyond) = self.count.checked_sub(bounds.free) else { return Duration::ZERO };
        let pause =
            FIRST_WAIT.saturating_mul(1u32.checked_shl(beyond).unwrap_or(u32::MAX)).min(bounds.longest);
        (last + pause).saturating_duration_since(now)
    }

    fn add(&mut self, now: Instant) {
        if self.is_forgotten(now) {
            self.count = 0;
        }
        self.count = self.count.saturating_add(1);
        self.last = Some(now);
    }

    fn is_forgotten(&self, now: Instant) -> bool {
        self.last.is_none_or(|last| now.saturating_duration_since(last) >= MEMORY)
    }
}

impl Limiter {
    /// Begins an attempt of `client`, which counts as failed until [`Self::succeeded`].
    ///
    /// # Errors
    /// The time until the next attempt is allowed. This one does not count.
    pub fn begin(&mut self, client: IpAddr, now: Instant) -> Result<(), Duration> {
        let client = network(client);
        let known = self.clients.get(&client).copied().unwrap_or_default();
        let wait = known.wait(CLIENT, now).max(self.overall.wait(OVERALL, now));
        if !wait.is_zero() {
            return Err(wait);
        }
        self.make_room(client, now);
        self.clients.entry(client).or_default().add(now);
        self.overall.add(now);
        Ok(())
    }

    /// The attempt of `client` had the right password.
    pub fn succeeded(&mut self, client: IpAddr) {
        self.clients.remove(&network(client));
        self.overall.count = self.overall.count.saturating_sub(1);
    }

    /// Forgets an address if there are too many: one whose failures are long ago, or that with the fewest, the oldest of them.
    fn make_room(&mut self, client: IpAddr, now: Instant) {
        if self.clients.len() < MAX_CLIENTS || self.clients.contains_key(&client) {
            return;
        }
        self.clients.retain(|_, failures| !failures.is_forgotten(now));
        if self.clients.len() >= MAX_CLIENTS {
            let fewest = self.clients.iter().min_by_key(|(_, failures)| (failures.count, failures.last));
            if let Some(client) = fewest.map(|(client, _)| *client) {
                self.clients.remove(&client);
            }
        }
    }
}

/// The address by which a client is known. A machine with IPv6 has a whole network of addresses.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(std::net::Ipv4Addr::from_bits(number))
    }

    #[test]
    fn waits_grow_after_the_free_attempts() {
        let (mut limiter, start) = (Limiter::default(), Instant::now());
        for _ in 0..FREE {
            limiter.begin(address(1), start).unwrap();
        }
        let mut now = start;
        for seconds in [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            assert_eq!(limiter.begin(address(1), now).unwrap_err().as_secs(), seconds);
            now += Duration::from_secs(seconds);
            limiter.begin(address(1), now).unwrap();
        }
        limiter.begin(address(2), now).unwrap();
    }

    #[test]
    fn success_forgives_and_an_hour_forgets() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let exhaust = |limiter: &mut Limiter| while limiter.begin(address(1), now).is_ok() {};
        exhaust(&mut limiter);
        assert!(limiter.begin(address(1), now).is_err());
        limiter.succeeded(address(1));
        limiter.begin(address(1), now).unwrap();
        exhaust(&mut limiter);
        assert!(limiter.begin(address(1), now + MEMORY).is_ok());
    }

    #[test]
    fn many_addresses_share_a_limit() {
        let (mut limiter, now) = (Limiter::default(), Instant::now());
        let begun = (0..1000).filter(|number| limiter.begin(address(*number), now).is_ok()).count();
        assert_eq!(begun, FREE_OVERALL as usize);
        assert!(limiter.begin(address(5000), now).unwrap_err() <= LONGEST_WAIT_OVERALL);
        assert!(limiter.begin(address(5000), now + LONGEST_WAIT_OVERALL).is_ok(), "the owner gets a turn");
    }

    #[test]
    fn network_of_ipv6_counts_as_one_client() {
        let net = |text: &str| network(text.parse().unwrap());
        assert_eq!(net("2001:db8:1:2::1"), net("2001:db8:1:2:ffff::9"));
        assert_ne!(net("2001:db8:1:2::1"), net("2001:db8:1:3::1"));
        assert_eq!(net("::ffff:10.0.0.1"), net("10.0.0.1"));
        assert_ne!(net("10.0.0.1"), net("10.0.0.2"));
    }

    /// An attempt: which client, how many milliseconds after the one before, and whether it has the right password.
    fn attempts() -> impl Strategy<Value = Vec<(u32, u64, bool)>> {
        proptest::collection::vec((0u32..6000, 0u64..20_000, any::<bool>()), 1..400)
    }

    proptest! {
        /// Nobody gets more guesses than the waits allow, no wait is endless, and memory is bounded.
        #[test]
        fn guesses_waits_and_memory_are_bounded(attempts in attempts(), one_client in any::<bool>()) {
            let mut limiter = Limiter::default();
            let start = Instant::now();
            let (mut now, mut failed) = (start, Vec::new());
            for (client, pause, is_right) in attempts {
                let client = address(if one_client { 1 } else { client });
                now += Duration::from_millis(pause);
                match limiter.begin(client, now) {
                    Err(wait) => {
                        prop_assert!(!wait.is_zero() && wait <= LONGEST_WAIT);
                        // The wait is as long as it says, unless others guess meanwhile.
                        prop_assert!(limiter.begin(client, now + wait - Duration::from_millis(1)).is_err());
                    }
                    Ok(()) if is_right && !one_client => limiter.succeeded(client),
                    Ok(()) => failed.push(now),
                }
                prop_assert!(limiter.clients.len() <= MAX_CLIENTS);
            }
            let most = if one_client { FREE } else { FREE_OVERALL } as usize;
            // After the free ones at least the first wait lies between two guesses.
            for pair in failed.windows(2).skip(most) {
                prop_assert!(pair[1] - pair[0] >= FIRST_WAIT, "{:?}", pair[1] - pair[0]);
            }
        }

        #[test]
        fn time_that_runs_back_does_no_harm(steps in proptest::collection::vec(any::<bool>(), 1..50)) {
            let mut limiter = Limiter::default();
            let mut now = Instant::now() + Duration::from_secs(100_000);
            for forward in steps {
                now = if forward { now + Duration::from_secs(30) } else { now - Duration::from_secs(10) };
                let _ = limiter.begin(address(1), now);
            }
        }
    }

    #[test]
    fn flood_of_addresses_takes_bounded_memory() {
        let mut limiter = Limiter::default();
        let mut now = Instant::now();
        for number in 0..10_000 {
            now += LONGEST_WAIT_OVERALL;
            let _ = limiter.begin(address(number), now);
            assert!(limiter.clients.len() <= MAX_CLIENTS);
        }
    }
}
