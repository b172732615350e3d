//! The events of all choices of a request, in order of arrival.

use std::future::poll_fn;
use std::task::{Context, Poll, Waker, ready};

use ipc_proto::generate::Event;
use ipc_proto::worker::Capacity;

use super::dispatcher::{Failover, GenerateAttempts, Limit};
use crate::backends::{EventStream, Verbatim};

/// The choices that run. Dropping it cancels those that have not ended.
pub struct Choices {
    prompt_tokens: u32,
    capacity: Option<Capacity>,
    running: Vec<RunningChoice>,
    ended: usize,
    /// The choice that is polled first, so that none starves.
    first: usize,
    /// `None` once it has fired.
    limit: Option<Limit>,
}

struct RunningChoice {
    stream: EventStream,
    attempts: GenerateAttempts,
    /// Set while the choice moves to another server.
    failover: Option<Failover>,
    ended: bool,
}

impl Choices {
    /// Needs at least one choice. All of them fail when `limit` resolves.
    pub(super) fn new(
        choices: impl IntoIterator<Item = (EventStream, GenerateAttempts)>,
        limit: Limit,
    ) -> Self {
        let start = |(stream, attempts)| RunningChoice { stream, attempts, failover: None, ended: false };
        let running: Vec<RunningChoice> = choices.into_iter().map(start).collect();
        Self {
            prompt_tokens: running.first().map_or(0, |first| first.stream.prompt_tokens),
            capacity: running.last().and_then(|last| last.stream.capacity),
            running,
            ended: 0,
            first: 0,
            limit: Some(limit),
        }
    }

    /// Tokens of the first choice's prompt.
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    /// The server's free capacity when it took the last choice, if known.
    pub fn capacity(&self) -> Option<Capacity> {
        self.capacity
    }

    /// The answer in the client's own protocol, if it comes in it. The events go on beside it.
    pub fn take_verbatim(&mut self) -> Option<Box<Verbatim>> {
        self.running.first_mut()?.stream.verbatim.take()
    }

    /// The number of choices.
    pub fn count(&self) -> usize {
        self.running.len()
    }

    /// Whether no event follows: all choices have ended, or one has failed.
    pub fn is_over(&self) -> bool {
        self.ended >= self.running.len()
    }

    /// The next event and the index of its choice. Dropping the call loses no event. Never returns after the last event.
    pub async fn next(&mut self) -> (usize, Event) {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// The next event if it has already arrived.
    pub fn try_next(&mut self) -> Option<(usize, Event)> {
        match self.poll_next(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => Some(event),
            Poll::Pending => None,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<(usize, Event)> {
        let count = self.running.len();
        for at in (self.first..count).chain(0..self.first) {
            let choice = &mut self.running[at];
            if choice.ended {
                continue;
            }
            if let Poll::Ready(event) = choice.poll_next(context) {
                self.first = (at + 1) % count;
                self.record(&event, at);
                return Poll::Ready((at, event));
            }
        }
        let Some(limit) = &mut self.limit else { return Poll::Pending };
        let error = ready!(limit.as_mut().poll(context));
        self.limit = None;
        self.ended = count;
        // Dropping the streams cancels.
        self.running.truncate(1);
        Poll::Ready((0, Event::Failed(error)))
    }

    fn record(&mut self, event: &Event, at: usize) {
        match event {
            Event::Failed(_) => self.ended = self.running.len(),
            event if event.is_last() => {
                self.running[at].ended = true;
                self.ended += 1;
            }
            _ => {}
        }
    }
}

impl RunningChoice {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(failover) = &mut self.failover {
                let (attempts, found) = ready!(failover.as_mut().poll(context));
                self.failover = None;
                self.attempts = attempts;
                match found {
                    Ok(stream) => self.stream = stream,
                    Err(error) => return Poll::Ready(Event::Failed(error)),
                }
            }
            let event = ready!(self.stream.poll_next(context));
            if let Event::Failed(failure) = &event {
                self.failover = self.attempts.fail_over(failure);
                if self.failover.is_some() {
                    continue;
                }
            }
            self.attempts.record(&event);
            return Poll::Ready(event);
        }
    }
}
