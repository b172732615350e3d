//! A limit on the bandwidth of all connections together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Lets through at most so many bytes a second. Clones share the limit.
#[derive(Debug, Clone)]
pub struct Limiter {
    bytes_per_second: Option<u64>,
    /// The bytes so far use up the limit until this time.
    paid: Arc<Mutex<Instant>>,
}

impl Limiter {
    /// A limit, or none.
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        Self { bytes_per_second, paid: Arc::new(Mutex::new(Instant::now())) }
    }

    /// Waits until these bytes, which have come, fit the limit.
    pub(super) async fn pass(&self, bytes: u64) {
        let Some(rate) = self.bytes_per_second else { return };
        let until = {
            let mut paid = self.paid.lock().await;
            let cost = Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64);
            *paid = (*paid).max(Instant::now()) + cost;
            *paid
        };
        tokio::time::sleep_until(until).await;
    }
}
