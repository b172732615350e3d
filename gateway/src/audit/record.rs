//! Records the course of one request.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ipc_proto::generate::{Event, Usage};
use ipc_proto::{Error, Result};

use crate::audit::bus::Bus;
use crate::inference::labels::Labels;
use crate::inference::record::{Outcome, Record};
use crate::inference::request::InferenceRequest;

/// Records one request. Sends the record to the bus when it is dropped, also after a cancellation or a panic.
pub struct RequestRecorder {
    bus: Bus,
    record: Record,
    start: Instant,
    recoveries: Arc<AtomicU32>,
}

impl RequestRecorder {
    /// Starts to record a generation request.
    pub fn new(bus: Bus, id: &str, endpoint: &'static str, request: &InferenceRequest) -> Self {
        let recorder = Self::for_model(bus, id, endpoint, &request.model, request.stream.is_some());
        recorder.with_labels(request.labels.clone())
    }

    /// Starts to record a request for `model`.
    pub fn for_model(bus: Bus, id: &str, endpoint: &'static str, model: &str, streamed: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            // Clients may send an id twice.
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

    /// The recorder with the labels of the sender.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels) -> Self {
        self.record.labels = labels;
        self
    }

    /// The counter of the request's recoveries.
    pub fn recovery_counter(&self) -> Arc<AtomicU32> {
        Arc::clone(&self.recoveries)
    }

    /// Records a failure to start.
    ///
    /// # Errors
    /// The failure in `started`.
    pub fn record_start<T>(&mut self, started: Result<T>) -> Result<T> {
        started.inspect_err(|error: &Error| self.record.outcome = Outcome::Failed(error.kind))
    }

    /// Records an event of one choice. `is_last` is true for the last event of all choices.
    pub fn record_event(&mut self, event: &Event, is_last: bool) {
        match event {
            Event::Progress(_) | Event::Prompt { .. } => {}
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
                if is_last {
                    self.record.outcome = Outcome::Finished;
                }
            }
            Event::Failed(error) => self.record.outcome = Outcome::Failed(error.kind),
        }
    }
}

impl Drop for RequestRecorder {
    fn drop(&mut self) {
        self.record.total_ms = ms(self.start);
        self.record.recoveries = self.recoveries.load(Ordering::Relaxed);
        self.bus.send(self.record.clone());
    }
}

fn ms(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}
