//! Records one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ipc_proto::generate::{Event, Usage};
use ipc_proto::{Error, Result};

use crate::audit::bus::Bus;
use crate::inference::labels::Labels;
use crate::inference::record::{Outcome, Record};
use crate::inference::request::InferenceRequest;

/// Watches one request; its record goes to the bus when this is dropped, however that comes.
pub struct Observed {
    bus: Bus,
    record: Record,
    start: Instant,
    recoveries: Arc<AtomicU32>,
}

impl Observed {
    /// Begins watching.
    pub fn new(bus: Bus, id: &str, endpoint: &'static str, request: &InferenceRequest) -> Self {
        let observed = Self::of(bus, id, endpoint, &request.model, request.stream.is_some());
        observed.sent_by(request.labels.clone())
    }

    /// Begins watching a request for `model`.
    pub fn of(bus: Bus, id: &str, endpoint: &'static str, model: &str, streamed: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            // Clients may send one name twice.
            id: format!("{id}/{:x}", now.as_nanos()),
            started_at_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            endpoint,
            model: model.to_owned(),
            streamed,
            outcome: Outcome::Cancelled,
            usage: Usage::default(),
            first_token_ms: None,
            total_ms: 0,
            recoveries: 0,
            labels: Labels::default(),
        };
        Self { bus, record, start: Instant::now(), recoveries: Arc::default() }
    }

    /// The same, for a request of this sender.
    #[must_use]
    pub fn sent_by(mut self, labels: Labels) -> Self {
        self.record.labels = labels;
        self
    }

    /// Where recoveries are counted.
    pub fn recoveries(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.recoveries)
    }

    /// Notes a failure to begin.
    ///
    /// # Errors
    /// The one given.
    pub fn begin<T>(&mut self, begun: Result<T>) -> Result<T> {
        begun.inspect_err(|error: &Error| self.record.outcome = Outcome::Failed(error.kind))
    }

    /// Notes an event of one of several choices, which is the last of all or not.
    pub fn see(&mut self, event: &Event, last: bool) {
        match event {
            Event::Prompt { .. } => {}
            Event::Delta(_) => {
                let start = self.start;
                self.record.first_token_ms.get_or_insert_with(|| ms(start));
            }
            Event::Finished { usage, .. } => {
                let so_far = self.record.usage;
                self.record.usage = Usage {
                    completion_tokens: so_far.completion_tokens + usage.completion_tokens,
                    reasoning_tokens: so_far.reasoning_tokens + usage.reasoning_tokens,
                    ..*usage
                };
                if last {
                    self.record.outcome = Outcome::Finished;
                }
            }
            Event::Failed(error) => self.record.outcome = Outcome::Failed(error.kind),
        }
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        self.record.total_ms = ms(self.start);
        self.record.recoveries = self.recoveries.load(Ordering::Relaxed);
        self.bus.send(self.record.clone());
    }
}

fn ms(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}
