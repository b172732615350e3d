//! Where generations come from. A backend takes a neutral request and gives a stream of events.

use futures::future::BoxFuture;
use ipc_proto::generate::Event;
use ipc_proto::worker::Room;
use ipc_proto::{Error, ErrorKind, Result, Source};
use tokio::sync::mpsc;

pub mod local;
pub mod source;

/// The events of one request, from wherever they come. Dropping it before its end cancels the request.
pub struct Events {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// What the place that took the request had room for, where that is known.
    pub room: Option<Room>,
    course: Course,
    /// Comes when the request has to end; until it has come.
    limit: Option<Limit>,
}

/// What ends a request before it ends itself, and why.
pub type Limit = BoxFuture<'static, Error>;

/// Another place that goes on with a request.
pub type Rescuing = BoxFuture<'static, Result<Queue>>;

/// Watches a request's events, so that it can go on elsewhere when the place it is generated in is lost.
pub trait Rescue: Send {
    /// Notes an event that is about to be told.
    fn note(&mut self, event: &Event);

    /// Looks for another place after `failure` of the one it was in; `None` where that is no help, or enough was tried. That none
    /// was found is final.
    fn rescue(&mut self, failure: &Error) -> Option<Rescuing>;
}

impl Events {
    /// Events from `queue`, and from wherever `rescue` finds when that is lost; until `limit`.
    pub fn new(queue: Queue, rescue: Box<dyn Rescue>, limit: Limit) -> Self {
        let (prompt_tokens, room) = (queue.prompt_tokens, queue.room);
        Self { prompt_tokens, room, course: Course { queue, rescue, rescuing: None }, limit: Some(limit) }
    }

    /// The next event; there is always a last one that ends the request. Nothing is lost when the call is dropped halfway.
    pub async fn next(&mut self) -> Event {
        let Some(limit) = &mut self.limit else { return self.course.next().await };
        let error = tokio::select! {
            biased;
            event = self.course.next() => return event,
            error = limit => error,
        };
        self.limit = None;
        self.course.give_up(error)
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.course.try_next()
    }
}

/// Where the events come from now, and from where they may come next.
struct Course {
    queue: Queue,
    rescue: Box<dyn Rescue>,
    /// While another place is looked for.
    rescuing: Option<Rescuing>,
}

impl Course {
    async fn next(&mut self) -> Event {
        loop {
            let event = match &mut self.rescuing {
                None => self.queue.next().await,
                Some(rescuing) => {
                    let found = rescuing.await;
                    self.rescuing = None;
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
        if self.rescuing.is_some() {
            return None;
        }
        let event = self.queue.try_next()?;
        self.pass(event)
    }

    /// The event, unless it says that the place is lost and there is hope for another.
    fn pass(&mut self, event: Event) -> Option<Event> {
        if let Event::Failed(failure) = &event {
            self.rescuing = self.rescue.rescue(failure);
        }
        if self.rescuing.is_some() {
            return None;
        }
        self.rescue.note(&event);
        Some(event)
    }

    fn give_up(&mut self, error: Error) -> Event {
        self.rescuing = None;
        // Dropping the old one cancels.
        self.queue = Queue::ended();
        Event::Failed(error)
    }
}

/// A request's time limit was reached.
pub fn late() -> Error {
    let text = "the request did not end within its time limit";
    Error::new(ErrorKind::Timeout, Source::Gateway, text).retryable(false)
}

/// The events of one request from one place. Dropping it before its end cancels the request there.
pub struct Queue {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// What the place had room for when it took the request, where that is known.
    pub room: Option<Room>,
    events: mpsc::Receiver<Event>,
    /// Runs when dropped, unless the request has ended.
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

impl Queue {
    /// What comes from `events`; `cancel` tells the place that nobody listens any more.
    pub fn new(events: mpsc::Receiver<Event>, cancel: impl FnOnce() + Send + 'static) -> Self {
        Self { prompt_tokens: 0, room: None, events, cancel: Some(Box::new(cancel)) }
    }

    /// One that has nothing more to tell.
    fn ended() -> Self {
        Self { prompt_tokens: 0, room: None, events: mpsc::channel(1).1, cancel: None }
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
            || Error::new(ErrorKind::Cancelled, Source::Client, "the client reads too slowly: cancelled");
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
