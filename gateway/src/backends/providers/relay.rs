//! Carries a provider's stream to the readers of the choices.

use std::sync::Arc;

use futures::StreamExt;
use ipc_proto::generate::{Event, FinishReason, Usage};
use ipc_proto::{Error, Result};
use sse_stream::SseStream;
use tokio::sync::mpsc::Sender;

use super::breaker::Verdict;
use super::client::Client;
use super::limiter::Reservation;
use super::translator::{Events, Translator, broken};

/// The data of the event that ends a stream of OpenAI's.
pub(super) const DONE: &str = "[DONE]";

/// One answer on its way.
pub(super) struct Relay {
    client: Arc<Client>,
    /// By choice; `None` once the choice has ended or has no reader.
    readers: Vec<Option<Sender<Event>>>,
    verdict: Verdict,
    /// Counts the tokens for the provider's limits.
    reservation: Reservation,
}

impl Relay {
    pub(super) fn new(
        client: Arc<Client>,
        readers: Vec<Sender<Event>>,
        (verdict, reservation): (Verdict, Reservation),
    ) -> Self {
        Self { client, readers: readers.into_iter().map(Some).collect(), verdict, reservation }
    }

    /// Carries every event of `response`. Each choice ends with one last event.
    pub(super) async fn run(mut self, response: reqwest::Response, translator: &mut dyn Translator) {
        if let Err(error) = self.carry(response, translator).await {
            self.fail(&error).await;
        }
    }

    /// Fails every choice that has not ended.
    pub(super) async fn fail(&mut self, error: &Error) {
        self.verdict.fail(error);
        for choice in 0..self.readers.len() {
            self.send(choice, Event::Failed(error.clone())).await;
        }
    }

    /// Notes that the provider's answer is complete.
    pub(super) fn succeed(&self) {
        self.verdict.succeed();
    }

    /// Ends every choice that has not ended. `usage` counts the tokens of all of them.
    pub(super) async fn finish(&mut self, reason: FinishReason, mut usage: Usage) {
        self.succeed();
        for choice in 0..self.readers.len() {
            self.send(choice, Event::Finished { reason, usage }).await;
            usage = Usage { completion_tokens: 0, reasoning_tokens: 0, ..usage };
        }
    }

    async fn carry(&mut self, response: reqwest::Response, translator: &mut dyn Translator) -> Result<()> {
        let mut stream = SseStream::from_bytes_stream(response.bytes_stream());
        while let Some(event) = stream.next().await {
            let data = match event {
                Ok(event) => event.data.unwrap_or_default(),
                Err(sse_stream::Error::Body(error)) => return Err(self.client.lost(error.as_ref())),
                Err(error) => return Err(broken(&format!("sent a broken event stream: {error}"))),
            };
            if data == DONE {
                break;
            }
            if !data.is_empty() && !self.send_all(translator.event(&data)?).await {
                return Ok(());
            }
        }
        self.send_all(translator.end()?).await;
        if self.readers.iter().any(Option::is_some) {
            return Err(broken("ended its stream in the middle of an answer"));
        }
        self.succeed();
        Ok(())
    }

    /// Sends events. Returns whether a choice still has a reader.
    pub(super) async fn send_all(&mut self, events: Events) -> bool {
        for (choice, event) in events {
            self.send(choice, event).await;
        }
        self.readers.iter().any(Option::is_some)
    }

    async fn send(&mut self, choice: usize, event: Event) {
        self.reservation.record(&event);
        let Some(Some(reader)) = self.readers.get(choice) else { return };
        let is_last = event.is_last();
        if reader.send(event).await.is_err() || is_last {
            self.readers[choice] = None;
        }
    }
}
