//! Where generations come from. A backend takes a neutral request and gives a stream of events.

use ipc_proto::generate::Event;
use ipc_proto::{Error, ErrorKind, Source};
use tokio::sync::mpsc;

pub mod local;
pub mod source;

/// The events of one request. Dropping it before its end cancels the request.
pub struct Events {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    queue: mpsc::Receiver<Event>,
    /// Runs when dropped, unless the request has ended.
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

impl Events {
    /// Events from `queue`; `cancel` tells the backend that nobody listens any more.
    pub fn new(queue: mpsc::Receiver<Event>, cancel: impl FnOnce() + Send + 'static) -> Self {
        Self { prompt_tokens: 0, queue, cancel: Some(Box::new(cancel)) }
    }

    /// The next event; there is always a last one that ends the request.
    pub async fn next(&mut self) -> Event {
        let event = self.queue.recv().await;
        self.note(event)
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        match self.queue.try_recv() {
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

impl Drop for Events {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}
