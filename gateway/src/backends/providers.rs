//! Models of providers: servers elsewhere that speak OpenAI's or Anthropic's protocol.
//!
//! A request is translated into the provider's protocol, and the provider's stream into neutral events. Both are pure. The HTTP
//! client sits between them, and retries until the provider has begun to answer.

use std::collections::HashMap;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::gateway::{Provider, ProviderKind, ProviderModel};
use ipc_proto::generate::{Event, Prompt};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::{Error, Result};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::{Attempt, Attempted, Backend, Call, Capabilities, EventStream, GenerateAttempt};

mod anthropic;
mod client;
mod failure;
mod fields;
mod openai;
mod relay;
mod translator;

use client::{Client, Post};
use relay::Relay;
use translator::Translator;

/// Events of a choice that its reader has not taken yet. A reader that is slower slows the provider down.
const QUEUE: usize = 64;

/// One provider.
pub struct ProviderBackend {
    client: Arc<Client>,
    kind: ProviderKind,
    models: HashMap<String, ProviderModel>,
}

impl ProviderBackend {
    /// The provider `name`.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(name: &str, provider: &Provider) -> anyhow::Result<Self> {
        let models = provider.models.iter().map(|model| (model.id.clone(), model.clone())).collect();
        Ok(Self { client: Arc::new(Client::new(name, provider)?), kind: provider.kind, models })
    }

    /// The request in the provider's protocol, and the translator of its events.
    fn translate(&self, attempt: &GenerateAttempt) -> Result<(Post, Box<dyn Translator>)> {
        let GenerateAttempt { model, generation, choices, .. } = attempt;
        let choices = choices.len();
        match self.kind {
            ProviderKind::Anthropic => {
                let max_output = self.models.get(model).and_then(|model| model.max_output);
                let body = anthropic::request::write(model, generation, choices, max_output)?;
                let translator = anthropic::events::Messages::new(&generation.stop);
                Ok((Post { path: "/v1/messages", body }, Box::new(translator)))
            }
            kind => {
                let body = openai::request::write(model, generation, choices, kind)?;
                let path = match generation.prompt {
                    Prompt::Chat(_) => "/chat/completions",
                    _ => "/completions",
                };
                Ok((Post { path, body }, Box::new(openai::events::Chat::new(choices))))
            }
        }
    }

    async fn start(&self, attempt: GenerateAttempt) -> Result<Vec<EventStream>> {
        let (post, mut translator) = self.translate(&attempt)?;
        let stream = self.client.stream(post).await?;
        let (senders, receivers): (Vec<_>, Vec<mpsc::Receiver<Event>>) =
            attempt.choices.iter().map(|_| mpsc::channel(QUEUE)).unzip();
        let relay = Relay::new(Arc::clone(&self.client), senders);
        let task = tokio::spawn(async move { relay.run(stream, &mut *translator).await });
        // Aborted once no choice has a reader.
        let task = Arc::new(AbortOnDropHandle::new(task));
        let each = |events| {
            let task = Arc::clone(&task);
            EventStream::new(events, move || drop(task))
        };
        Ok(receivers.into_iter().map(each).collect())
    }

    fn refused<T: Send + 'static>(&self, what: &str) -> BoxFuture<'_, Attempt<T>> {
        let text = format!("the provider {} {what}", self.client.name());
        async move { Err(Error::invalid("model", text)) }.boxed()
    }
}

impl Backend for ProviderBackend {
    fn capabilities(&self, _: &str) -> Capabilities {
        Capabilities { resumable: false }
    }

    fn excuse(&self, _: &str, _: u64) {}

    fn generate(&self, attempt: GenerateAttempt) -> BoxFuture<'_, Attempt<Vec<EventStream>>> {
        // The client retries by itself. A provider is one server.
        async move { Ok(Attempted { server: 0, outcome: self.start(attempt).await }) }.boxed()
    }

    fn embed<'a>(&'a self, _: Call<'a, EmbedRequest>) -> BoxFuture<'a, Attempt<Embeddings>> {
        self.refused("is asked for generated text only, not for embeddings")
    }

    fn rerank<'a>(&'a self, _: Call<'a, RerankRequest>) -> BoxFuture<'a, Attempt<Scores>> {
        self.refused("is asked for generated text only, not for rankings")
    }

    fn count_tokens<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<u32>> {
        if self.kind != ProviderKind::Anthropic {
            return self.refused("does not count tokens before a request");
        }
        async move {
            let mut total = 0;
            for prompt in call.request {
                let body = anthropic::request::count(call.model, prompt)?;
                let answer = self.client.call(Post { path: "/v1/messages/count_tokens", body }).await?;
                total += answer["input_tokens"].as_u64().map_or(0, saturated);
            }
            Ok(Attempted { server: 0, outcome: Ok(total) })
        }
        .boxed()
    }

    fn render<'a>(&'a self, _: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<Vec<RenderedPrompt>>> {
        self.refused("does not show its prompts")
    }

    fn tokenize<'a>(&'a self, _: Call<'a, TokenizeRequest>) -> BoxFuture<'a, Attempt<Tokenized>> {
        self.refused("does not show its tokens")
    }

    fn detokenize<'a>(&'a self, _: Call<'a, [u32]>) -> BoxFuture<'a, Attempt<String>> {
        self.refused("does not show its tokens")
    }
}

/// A count of the provider's as the gateway holds counts.
fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A count at `pointer`; 0 if there is none.
fn count_at(value: &Value, pointer: &str) -> u32 {
    value.pointer(pointer).and_then(Value::as_u64).map_or(0, saturated)
}
