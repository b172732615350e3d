//! The events of one choice, or those of several as they come.

use ipc_proto::generate::Event;
use ipc_proto::worker::Capacity;
use tokio::sync::mpsc;

use super::Events;

/// Events that may wait, of all choices together.
const EVENTS_AHEAD: usize = 4096;

/// Where a request's events come from. Dropping it cancels what has not ended.
pub struct Choices {
    prompt_tokens: u32,
    capacity: Option<Capacity>,
    choices: usize,
    ended: usize,
    queue: Queue,
}

enum Queue {
    One(Events),
    Many(mpsc::Receiver<(usize, Event)>),
}

impl Choices {
    /// The events of `all`, which is not empty.
    pub fn new(mut all: Vec<Events>) -> Self {
        let prompt_tokens = all.first().map_or(0, |events| events.prompt_tokens);
        let capacity = all.last().and_then(|events| events.capacity);
        let choices = all.len();
        let queue = match all.pop() {
            Some(only) if all.is_empty() => Queue::One(only),
            last => {
                let (sender, receiver) = mpsc::channel(EVENTS_AHEAD);
                for (choice, events) in all.into_iter().chain(last).enumerate() {
                    tokio::spawn(forward(choice, events, sender.clone()));
                }
                Queue::Many(receiver)
            }
        };
        Self { prompt_tokens, capacity, choices, ended: 0, queue }
    }

    /// Tokens of the first choice's prompt.
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    /// The worker's free capacity when it took the last choice, if known.
    pub fn capacity(&self) -> Option<Capacity> {
        self.capacity
    }

    /// How many there are.
    pub fn choices(&self) -> usize {
        self.choices
    }

    /// Whether the last event was the last: all choices have ended, or one has failed.
    pub fn is_over(&self) -> bool {
        self.ended >= self.choices
    }

    /// The next event, and whose it is.
    pub async fn next(&mut self) -> (usize, Event) {
        let event = match &mut self.queue {
            Queue::One(events) => (0, events.next().await),
            Queue::Many(queue) => match queue.recv().await {
                Some(event) => event,
                // Each choice has a last event, after which nobody asks.
                None => std::future::pending().await,
            },
        };
        self.note(event)
    }

    /// The next event if it is there already.
    pub fn try_next(&mut self) -> Option<(usize, Event)> {
        let event = match &mut self.queue {
            Queue::One(events) => (0, events.try_next()?),
            Queue::Many(queue) => queue.try_recv().ok()?,
        };
        Some(self.note(event))
    }

    fn note(&mut self, event: (usize, Event)) -> (usize, Event) {
        match &event.1 {
            Event::Failed(_) => self.ended = self.choices,
            event if event.is_last() => self.ended += 1,
            _ => {}
        }
        event
    }
}

/// Hands one choice's events on until its last, or until nobody listens.
async fn forward(choice: usize, mut events: Events, sender: mpsc::Sender<(usize, Event)>) {
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            () = sender.closed() => return,
        };
        let last = event.is_last();
        if sender.send((choice, event)).await.is_err() || last {
            return;
        }
    }
}
