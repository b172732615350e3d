//! Backends: they take a neutral request and give a stream of events.

use futures::future::BoxFuture;
use ipc_proto::generate::Event;
use ipc_proto::worker::Capacity;
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Result};
use tokio::sync::mpsc;

pub mod choices;
pub mod local;

/// The events of one request. Dropping it before its end cancels the request.
pub struct Events {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// The worker's free capacity when it took the request, if known.
    pub capacity: Option<Capacity>,
    source: EventSource,
    /// Resolves when the request must be aborted; `None` once it has.
    limit: Option<Limit>,
}

/// Resolves with the reason why a request must be aborted.
pub type Limit = BoxFuture<'static, Error>;

/// Another worker's events of the same request, once it has taken over.
pub type PendingFailover = BoxFuture<'static, Result<Queue>>;

/// Records a request's events, so that another worker can continue it when its own is lost.
pub trait Failover: Send {
    /// Records an event before the client gets it.
    fn note(&mut self, event: &Event);

    /// Looks for another worker after `failure` of the last one. `None` if another worker cannot help or the tries are used up. An
    /// error of the search is final.
    fn fail_over(&mut self, failure: &Error) -> Option<PendingFailover>;
}

impl Events {
    /// Events from `queue`, then from the workers that `failover` finds when it is lost, until `limit`.
    pub fn new(queue: Queue, failover: Box<dyn Failover>, limit: Limit) -> Self {
        let (prompt_tokens, capacity) = (queue.prompt_tokens, queue.capacity);
        Self {
            prompt_tokens,
            capacity,
            source: EventSource { queue, failover, pending: None },
            limit: Some(limit),
        }
    }

    /// The next event. The last one ends the request. Dropping the call loses no event.
    pub async fn next(&mut self) -> Event {
        let Some(limit) = &mut self.limit else { return self.source.next().await };
        let error = tokio::select! {
            biased;
            event = self.source.next() => return event,
            error = limit => error,
        };
        self.limit = None;
        self.source.give_up(error)
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.source.try_next()
    }
}

/// The queue that events come from now, and how to find the next one.
struct EventSource {
    queue: Queue,
    failover: Box<dyn Failover>,
    /// Set while another worker is looked for.
    pending: Option<PendingFailover>,
}

impl EventSource {
    async fn next(&mut self) -> Event {
        loop {
            let event = match &mut self.pending {
                None => self.queue.next().await,
                Some(pending) => {
                    let found = pending.await;
                    self.pending = None;
                    match found {
                        Ok(queue) => {
                            self.queue = queue;
                            continue;
                        }
                        Err(error) => return Event::Failed(error),
                    }
                }
            };
            if let Some(event) = self.pass(event) {
                return event;
            }
        }
    }

    fn try_next(&mut self) -> Option<Event> {
        if self.pending.is_some() {
            return None;
        }
        let event = self.queue.try_next()?;
        self.pass(event)
    }

    /// The event, unless it says that the worker is lost and another one may take over.
    fn pass(&mut self, event: Event) -> Option<Event> {
        if let Event::Failed(failure) = &event {
            self.pending = self.failover.fail_over(failure);
        }
        if self.pending.is_some() {
            return None;
        }
        self.failover.note(&event);
        Some(event)
    }

    fn give_up(&mut self, error: Error) -> Event {
        self.pending = None;
        // Dropping the old one cancels.
        self.queue = Queue::ended();
        Event::Failed(error)
    }
}

/// A request's time limit was reached.
pub fn late() -> Error {
    let text = "the request did not end within its time limit";
    Error::new(ErrorKind::Timeout, Origin::Gateway, text).with_disposition(Disposition::Final)
}

/// The events of one request from one worker. Dropping it before its end cancels the request there.
pub struct Queue {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// The worker's free capacity when it took the request, if known.
    pub capacity: Option<Capacity>,
    events: mpsc::Receiver<Event>,
    /// Runs when dropped, unless the request has ended.
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

impl Queue {
    /// A queue of `events`; `cancel` ends the request at the worker when the queue is dropped early.
    pub fn new(events: mpsc::Receiver<Event>, cancel: impl FnOnce() + Send + 'static) -> Self {
        Self { prompt_tokens: 0, capacity: None, events, cancel: Some(Box::new(cancel)) }
    }

    /// A queue without events.
    fn ended() -> Self {
        Self { prompt_tokens: 0, capacity: None, events: mpsc::channel(1).1, cancel: None }
    }

    async fn next(&mut self) -> Event {
        let event = self.events.recv().await;
        self.note(event)
    }

    fn try_next(&mut self) -> Option<Event> {
        match self.events.try_recv() {
            Ok(event) => Some(self.note(Some(event))),
            Err(_) => None,
        }
    }

    fn note(&mut self, event: Option<Event>) -> Event {
        // The backend lets go of a queue that is full: a client that reads that slowly is not waited for.
        let slow =
            || Error::new(ErrorKind::Cancelled, Origin::Client, "the client reads too slowly: cancelled");
        let event = event.unwrap_or_else(|| Event::Failed(slow()));
        if event.is_last() {
            self.cancel = None;
        }
        event
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}
