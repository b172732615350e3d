//! Records the course of one request.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use chrono::Utc;
use ipc_proto::generate::{Event, Usage};
use ipc_proto::{Error, Result};

use crate::access::Tenant;
use crate::audit::bus::Bus;
use crate::audit::contents::EndedContent;
use crate::inference::content::Content;
use crate::inference::course::{Answerer, Course};
use crate::inference::labels::Labels;
use crate::inference::record::{Outcome, Record};
use crate::inference::request::InferenceRequest;
use crate::inference::request_id::RequestId;

/// Records one request. Sends the record to the bus when it is dropped, also after a cancellation or a panic.
pub struct RequestRecorder {
    bus: Bus,
    record: Record,
    start: Instant,
    course: Arc<Course>,
    sender: Tenant,
    /// Collects the content of the request, if its key says so.
    content: Option<Arc<Content>>,
    /// Tokens of the prompt, and of the outputs so far. They count if the request does not end well.
    read: u32,
    generated: u32,
}

impl RequestRecorder {
    /// Starts to record a generation request.
    pub fn new(bus: Bus, id: &RequestId, endpoint: &'static str, request: &InferenceRequest) -> Self {
        let recorder = Self::for_model(bus, id, endpoint, &request.model, request.stream.is_some());
        recorder.with_labels(request.labels.clone(), id)
    }

    /// Starts to record a request for `model`.
    pub fn for_model(bus: Bus, id: &RequestId, endpoint: &'static str, model: &str, streamed: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            // Clients may send an id twice.
            id: format!("{}/{:x}", id.name, now.as_nanos()),
            started_at_ms: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
            endpoint,
            model: model.to_owned(),
            streamed,
            outcome: Outcome::Cancelled,
            usage: Usage::default(),
            first_token_ms: None,
            total_ms: 0,
            attempts: 0,
            recoveries: 0,
            cost: None,
            answerer: Answerer::default(),
            decision: None,
            labels: Labels::default(),
            key: None,
            parent: Arc::clone(&id.parent),
        };
        let course = Arc::new(Course::new(id.headers.clone(), None));
        id.latest.set(&course);
        Self {
            bus,
            record,
            start: Instant::now(),
            course,
            sender: Tenant::default(),
            content: id.content.clone(),
            read: 0,
            generated: 0,
        }
    }

    /// The recorder with the labels of the sender.
    #[must_use]
    pub fn with_labels(mut self, labels: Labels, id: &RequestId) -> Self {
        if labels.notes.is_some() {
            // No attempt has the course yet.
            self.course = Arc::new(Course::new(self.course.headers().cloned(), labels.notes.clone()));
            id.latest.set(&self.course);
        }
        self.record.labels = labels;
        self
    }

    /// The recorder of a request of `sender`, whose key it counts the tokens for.
    #[must_use]
    pub fn sent_by(mut self, sender: &Tenant) -> Self {
        self.record.key = sender.identity().cloned();
        self.course.set_key(sender.identity().cloned());
        self.course.set_content(self.content.clone());
        self.sender = sender.clone();
        self
    }

    /// Notes the tokens of the prompt, once a server has taken the request.
    pub fn record_prompt(&mut self, tokens: u32) {
        self.read = tokens;
    }

    /// The course of the request, for its attempts.
    pub fn course(&self) -> &Arc<Course> {
        &self.course
    }

    /// Records a failure to start.
    ///
    /// # Errors
    /// The failure in `started`.
    pub fn record_start<T>(&mut self, started: Result<T>) -> Result<T> {
        started.inspect_err(|error: &Error| self.record.outcome = Outcome::Failed(error.kind))
    }

    /// Keeps a provider's answer that is passed on as a whole, if the key says so.
    pub fn record_answer(&self, body: &[u8]) {
        if let Some(content) = &self.content {
            content.set_answer(body);
        }
    }

    /// Records an event of a choice. `is_last` is true for the last event of all choices.
    pub fn record_event(&mut self, choice: usize, event: &Event, is_last: bool) {
        if let Some(content) = &self.content {
            content.add_event(choice, event);
        }
        match event {
            Event::Progress(_) | Event::Prompt { .. } => {}
            Event::Delta(delta) => {
                let start = self.start;
                // Providers do not say which tokens a piece has.
                let tokens = u32::try_from(delta.tokens.len().max(1)).unwrap_or(u32::MAX);
                self.generated = self.generated.saturating_add(tokens);
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
        self.record.attempts = self.course.attempts();
        self.record.recoveries = self.course.recoveries();
        self.record.answerer = self.course.answerer();
        self.record.decision = self.course.decision().cloned();
        let usage = &mut self.record.usage;
        if self.record.outcome != Outcome::Finished {
            usage.prompt_tokens = usage.prompt_tokens.max(self.read);
            usage.completion_tokens = usage.completion_tokens.max(self.generated);
        }
        let today = Utc::now().format("%Y-%m-%d").to_string();
        self.record.cost = self.course.cost(&self.record.usage, &today);
        let usage = &self.record.usage;
        self.sender.spend(u64::from(usage.prompt_tokens) + u64::from(usage.completion_tokens));
        if let Some(content) = &self.content {
            self.bus.contents().send(EndedContent {
                request_id: self.record.id.clone(),
                started_at_ms: self.record.started_at_ms,
                content: content.take(),
            });
        }
        self.bus.send(self.record.clone());
    }
}

fn ms(since: Instant) -> i64 {
    i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX)
}
