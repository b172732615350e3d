//! Models of providers: servers elsewhere that speak OpenAI's or Anthropic's protocol.
//!
//! A request is translated into the provider's protocol, and the provider's stream into neutral events. Both are pure. The HTTP
//! client sits between them, and retries until the provider has begun to answer.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::gateway::{ManagedBackend, Provider, ProviderKind, ProviderLimits, ProviderModel};
use ipc_proto::generate::{Event, Prompt, Usage};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Result};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::task::AbortOnDropHandle;

use super::by_name::facts;
use super::{
    Attempt, Attempted, Backend, Call, Capabilities, EventStream, GenerateAttempt, ListedModel, Probe,
    Verbatim,
};
use crate::access::budget::Moment;
use crate::fleet::FleetClient;
use crate::inference::course::Course;
use crate::inference::names::managed_model;
use crate::inference::original::{Original, WireProtocol};

mod anthropic;
mod breaker;
mod client;
mod failure;
mod fields;
mod guard;
mod limiter;
mod openai;
mod relay;
mod schemas;
mod spans;
mod translator;
mod verbatim;

use breaker::{Breakers, Verdict};
use client::{Client, Post};
use limiter::{Limiter, Reservation};
use relay::Relay;
use translator::{Translator, broken};
use verbatim::Passage;

/// Events of a choice that its reader has not taken yet. A reader that is slower slows the provider down.
const QUEUE: usize = 64;

/// One provider.
pub struct ProviderBackend {
    client: Arc<Client>,
    kind: ProviderKind,
    models: HashMap<String, ProviderModel>,
    breakers: Arc<Breakers>,
    limiter: Arc<Limiter>,
    /// The name of its only model there, if it is another one than here.
    sent_model: Option<String>,
}

impl ProviderBackend {
    /// The provider `name`.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn new(name: &str, provider: &Provider) -> anyhow::Result<Self> {
        let models = provider.models.iter().map(|model| (model.id.clone(), model.clone())).collect();
        let client = Arc::new(Client::new(name, provider)?);
        let breakers = Arc::new(Breakers::new(client.name()));
        let limiter = Limiter::new(client.name(), provider.limits, None);
        Ok(Self { client, kind: provider.kind, models, breakers, limiter, sent_model: None })
    }

    /// The backend `name`, whose program `fleet` starts when it is asked for.
    pub fn managed(name: &str, backend: &ManagedBackend, fleet: Arc<FleetClient>) -> Self {
        let client = Arc::new(Client::managed(name, backend, fleet));
        let breakers = Arc::new(Breakers::new(client.name()));
        let limiter = Limiter::new(client.name(), ProviderLimits::default(), None);
        let model = managed_model(backend);
        Self {
            client,
            kind: ProviderKind::OpenaiCompatible,
            models: HashMap::from([(model.id.clone(), model)]),
            breakers,
            limiter,
            sent_model: Some(backend.model.clone()),
        }
    }

    /// The same provider, whose limits go on with the use of an earlier one of this name.
    #[must_use]
    pub fn after(self, before: Option<&Self>) -> Self {
        let limiter =
            Limiter::new(self.client.name(), self.limiter.limits(), before.map(|before| &before.limiter));
        Self { limiter, ..self }
    }

    /// Whether it is a program on this machine, which the supervisor starts.
    fn is_managed(&self) -> bool {
        self.sent_model.is_some()
    }

    /// The limits over all its models.
    pub fn limits(&self) -> ProviderLimits {
        self.limiter.limits()
    }

    /// The cost of this day and month, in billionths of a US dollar.
    pub fn cost(&self, now: Moment) -> (u64, u64) {
        self.limiter.used(now)
    }

    /// Takes over the cost of this day and month that the request log shows, in billionths of a US dollar.
    pub fn learn_cost(&self, day: u64, month: u64, now: Moment) {
        self.limiter.learn(day, month, now);
    }

    /// The provider's name in the settings.
    pub fn name(&self) -> &Arc<str> {
        self.client.name()
    }

    /// Whether the settings name this model. No other is asked for.
    pub fn offers(&self, model: &str) -> bool {
        self.models.contains_key(model)
    }

    /// Asks the provider for its list of models, once.
    ///
    /// # Errors
    /// It cannot be reached, refuses the key, or has no such list.
    pub async fn probe(&self) -> Result<Probe> {
        let start = Instant::now();
        let path = match self.kind {
            // By default it lists twenty.
            ProviderKind::Anthropic => "/v1/models?limit=1000",
            ProviderKind::Openai | ProviderKind::OpenaiCompatible => "/models",
        };
        let list = self.client.get(path).await?;
        let entries = list["data"].as_array().into_iter().flatten();
        let mut listed: Vec<ListedModel> = entries.filter_map(listed_model).collect();
        listed.sort_unstable();
        let mut missing: Vec<String> = self.models.keys().cloned().collect();
        missing.retain(|id| !listed.iter().any(|model| model.id == *id));
        missing.sort_unstable();
        Ok(Probe { listed, missing, elapsed: start.elapsed() })
    }

    /// The name of a model in requests.
    fn sent<'a>(&'a self, model: &'a str) -> &'a str {
        self.sent_model.as_deref().unwrap_or(model)
    }

    /// The request in the provider's protocol, and the translator of its events.
    fn translate(&self, attempt: &GenerateAttempt) -> Result<(Post, Box<dyn Translator>)> {
        let GenerateAttempt { model, generation, choices, assumes_no_thinking, .. } = attempt;
        let choices = choices.len();
        match self.kind {
            ProviderKind::Anthropic => {
                let max_output = self.models.get(model).and_then(|model| model.max_output);
                let body = anthropic::request::write(model, generation, choices, max_output)?;
                let translator = anthropic::events::Messages::new(&generation.stop);
                Ok((Post::json("/v1/messages", &body), Box::new(translator)))
            }
            kind => {
                let outputs = (choices, !assumes_no_thinking);
                let body = openai::request::write(self.sent(model), generation, outputs, kind)?;
                let path = match generation.prompt {
                    Prompt::Chat(_) => "/chat/completions",
                    _ => "/completions",
                };
                Ok((Post::json(path, &body), Box::new(openai::events::Chat::new(choices))))
            }
        }
    }

    /// Starts a generation, unless a limit of the provider is reached or it has failed too often.
    async fn start_if_sound(&self, attempt: GenerateAttempt) -> Result<Vec<EventStream>> {
        let (tokens, model) = (facts::prompt_tokens(&attempt), self.models.get(&attempt.model));
        let payer = (!self.is_managed()).then_some(&attempt.sender);
        let reservation = self.limiter.admit(tokens, model, payer, Moment::now())?;
        let verdict = match self.breakers.admit(&attempt.model) {
            Ok(verdict) => verdict,
            Err(rest) => {
                reservation.cancel();
                return Err(self.paused(&attempt.model, rest));
            }
        };
        self.start(attempt, &verdict, reservation).await.inspect_err(|error| verdict.fail(error))
    }

    fn paused(&self, model: &str, rest: Duration) -> Error {
        let name = self.name();
        let text = format!(
            "the provider {name} has failed repeatedly for the model {model}: it is asked again in {} s",
            rest.as_secs() + 1
        );
        Error::new(ErrorKind::Unavailable, Origin::Upstream, text)
            .with_disposition(Disposition::RetryAfter(rest))
    }

    async fn start(
        &self,
        attempt: GenerateAttempt,
        verdict: &Verdict,
        reservation: Reservation,
    ) -> Result<Vec<EventStream>> {
        if let Some(original) = attempt.original.clone().filter(|one| one.protocol.is_spoken_by(self.kind)) {
            return self.pass(&attempt, &original, (verdict, reservation)).await;
        }
        attempt.need_neutral_form()?;
        let (post, mut translator) = self.translate(&attempt)?;
        let post = Post { priority: attempt.generation.priority, ..post };
        let stream = self.client.stream(post, &attempt.course).await?;
        self.client.keep_alive(attempt.keep_alive);
        verdict.begin();
        let (relay, receivers) = self.relay(attempt.choices.len(), (verdict, reservation));
        let task = tokio::spawn(async move { relay.run(stream, &mut *translator).await });
        Ok(streams(receivers, task))
    }

    /// Passes the client's own request on, and the answer as it comes.
    async fn pass(
        &self,
        attempt: &GenerateAttempt,
        original: &Original,
        (verdict, reservation): (&Verdict, Reservation),
    ) -> Result<Vec<EventStream>> {
        let (protocol, streamed) = (original.protocol, original.streamed);
        let hides_usage = streamed && protocol == WireProtocol::Chat && verbatim::lacks_usage(&original.body);
        let body = verbatim::request(&original.body, self.sent(&attempt.model), hides_usage);
        let body = body.ok_or_else(|| broken("cannot get this body: it names no model"))?;
        let (path, mut translator, usage) = reader(protocol, attempt);
        let priority = attempt.generation.priority;
        let post = Post { path, body: body.into(), headers: original.headers.clone(), priority };
        let response = self.client.stream(post, &attempt.course).await?;
        self.client.keep_alive(attempt.keep_alive);
        verdict.begin();
        let headers = verbatim::headers(response.headers());
        let (relay, receivers) = self.relay(attempt.choices.len(), (verdict, reservation));
        let (sender, pieces) = mpsc::channel(QUEUE);
        let model = attempt.course.target().map_or_else(|| original.model.clone(), |name| name.to_string());
        let client = Arc::clone(&self.client);
        let passage = Passage { client, protocol, model, hides_usage, pieces: sender, relay };
        let task = tokio::spawn(async move {
            if streamed {
                passage.stream(response, &mut *translator).await;
            } else {
                passage.whole(response, usage).await;
            }
        });
        let mut streams = streams(receivers, task);
        if let Some(first) = streams.first_mut() {
            first.verbatim = Some(Box::new(Verbatim::new(headers, pieces)));
        }
        Ok(streams)
    }

    /// The relay of an answer that has begun with this number of choices, and their events.
    fn relay(
        &self,
        choices: usize,
        (verdict, mut reservation): (&Verdict, Reservation),
    ) -> (Relay, Vec<mpsc::Receiver<Event>>) {
        let (senders, receivers) = (0..choices).map(|_| mpsc::channel(QUEUE)).unzip();
        reservation.open();
        (Relay::new(Arc::clone(&self.client), senders, (verdict.clone(), reservation)), receivers)
    }

    fn refused<T: Send + 'static>(&self, what: &str) -> BoxFuture<'_, Attempt<T>> {
        let text = format!("the provider {} {what}", self.client.name());
        async move { Err(Error::invalid("model", text)) }.boxed()
    }
}

impl Backend for ProviderBackend {
    fn capabilities(&self, _: &Course) -> Capabilities {
        Capabilities { resumable: false }
    }

    fn excuse(&self, _: &str, _: &Course, _: u64) {}

    fn generate(&self, attempt: GenerateAttempt) -> BoxFuture<'_, Attempt<Vec<EventStream>>> {
        // The client retries by itself. A provider is one server.
        async move { Ok(Attempted { server: 0, outcome: self.start_if_sound(attempt).await }) }.boxed()
    }

    fn probe<'a>(&'a self, provider: &'a str) -> BoxFuture<'a, Option<Result<Probe>>> {
        async move { if **self.name() == *provider { Some(self.probe().await) } else { None } }.boxed()
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
                let answer =
                    self.client.call(Post::json("/v1/messages/count_tokens", &body), call.course).await?;
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

/// See [`reader`].
type Reader = (&'static str, Box<dyn Translator>, fn(&Value) -> Usage);

/// The path for requests of a protocol, and the readers of a streamed answer and of a whole one's token counts.
fn reader(protocol: WireProtocol, attempt: &GenerateAttempt) -> Reader {
    match protocol {
        WireProtocol::Chat => {
            let chat = openai::events::Chat::new(attempt.choices.len());
            ("/chat/completions", Box::new(chat), openai::events::usage_of)
        }
        WireProtocol::Responses => {
            let responses = Box::<openai::responses::Responses>::default();
            ("/responses", responses, openai::responses::usage_of)
        }
        WireProtocol::Messages => {
            let messages = anthropic::events::Messages::new(&attempt.generation.stop);
            ("/v1/messages", Box::new(messages), anthropic::events::usage_of)
        }
    }
}

/// A model in a provider's list.
fn listed_model(entry: &Value) -> Option<ListedModel> {
    // As OpenRouter and mlxd, vLLM, and Anthropic name it.
    let fields = ["context_length", "max_model_len", "max_input_tokens"];
    let context = fields.iter().find_map(|field| u32::try_from(entry[*field].as_u64()?).ok());
    Some(ListedModel { id: entry["id"].as_str()?.to_owned(), context })
}

/// The streams of an answer that `task` carries. It is aborted once no choice has a reader.
fn streams(receivers: Vec<mpsc::Receiver<Event>>, task: JoinHandle<()>) -> Vec<EventStream> {
    let task = Arc::new(AbortOnDropHandle::new(task));
    let each = |events| {
        let task = Arc::clone(&task);
        EventStream::new(events, move || match Arc::into_inner(task) {
            // The connection is closed once the task has ended.
            Some(task) => {
                task.abort();
                task.map(drop).boxed()
            }
            None => std::future::ready(()).boxed(),
        })
    };
    receivers.into_iter().map(each).collect()
}

/// A count of the provider's as the gateway holds counts.
fn saturated(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A count at `pointer`; 0 if there is none.
fn count_at(value: &Value, pointer: &str) -> u32 {
    value.pointer(pointer).and_then(Value::as_u64).map_or(0, saturated)
}
