//! Backends: each serves neutral requests for some models. [`by_name`] chooses one by the model's name; the dispatcher retries.

use std::task::{Context, Poll};

use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::generate::{Choice, Event, Generation, Prompt};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::supervisor::KeepAlive;
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use tokio::sync::mpsc;

pub mod by_name;
pub mod local;
pub mod providers;

/// Serves requests. Each call is one attempt at one server: a worker process, or a provider.
pub trait Backend: Send + Sync + 'static {
    /// The features that the dispatcher depends on, of the server of `model`.
    fn capabilities(&self, model: &str) -> Capabilities;

    /// Begins a generation: one stream for each of its choices.
    fn generate(&self, attempt: GenerateAttempt) -> BoxFuture<'_, Attempt<Vec<EventStream>>>;

    /// Reports that a request lost `server` after it had lost another one. Does not wait.
    fn excuse(&self, model: &str, server: u64);

    /// Texts → vectors.
    fn embed<'a>(&'a self, call: Call<'a, EmbedRequest>) -> BoxFuture<'a, Attempt<Embeddings>>;

    /// A query and documents → scores.
    fn rerank<'a>(&'a self, call: Call<'a, RerankRequest>) -> BoxFuture<'a, Attempt<Scores>>;

    /// The number of tokens of all prompts together, as the model would receive them.
    fn count_tokens<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<u32>>;

    /// The prompts as the model would receive them.
    fn render<'a>(&'a self, call: Call<'a, [Prompt]>) -> BoxFuture<'a, Attempt<Vec<RenderedPrompt>>>;

    /// Text or prompt → token ids.
    fn tokenize<'a>(&'a self, call: Call<'a, TokenizeRequest>) -> BoxFuture<'a, Attempt<Tokenized>>;

    /// Token ids → text.
    fn detokenize<'a>(&'a self, call: Call<'a, [u32]>) -> BoxFuture<'a, Attempt<String>>;
}

/// The features of a backend that the dispatcher depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Another server can continue an output after the tokens that a lost one has generated.
    pub resumable: bool,
}

/// The outcome of an attempt. An outer error means that no server was found, and is final.
pub type Attempt<T> = Result<Attempted<T>>;

/// The outcome at one server.
#[derive(Debug)]
pub struct Attempted<T> {
    /// The number of the server, unique within the backend.
    pub server: u64,
    /// Its answer.
    pub outcome: Result<T>,
}

/// The servers that were tried for a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tried {
    /// Servers that refused or lost the request. They are avoided while there may be others.
    pub excluded: Vec<u64>,
    /// The last server that lost the request.
    pub lost: Option<u64>,
}

/// One attempt at a generation.
#[derive(Debug, Clone)]
pub struct GenerateAttempt {
    /// Id or alias of the model.
    pub model: String,
    /// The id of the client's request, for the logs.
    pub request_id: String,
    /// Requests of different scopes share no cached text.
    pub cache_scope: String,
    /// The prompt and the parameters of its outputs.
    pub generation: Generation,
    /// The outputs to generate or continue. The backend assigns their ids.
    pub choices: Vec<Choice>,
    /// The seed for a request without one. It is the same for all attempts, so that another server generates the same output.
    pub drawn_seed: u64,
    /// How long the model stays loaded when it is idle; `None` if the request does not set it.
    pub keep_alive: Option<KeepAlive>,
    /// Requests with the same value go to the same server, whose prefix cache holds their beginning.
    pub affinity: Option<String>,
    /// Earlier attempts.
    pub tried: Tried,
}

/// One attempt at a call without a stream.
#[derive(Debug)]
pub struct Call<'a, R: ?Sized> {
    /// Id or alias of the model.
    pub model: &'a str,
    /// How long the model stays loaded when it is idle; `None` if the request does not set it.
    pub keep_alive: Option<KeepAlive>,
    /// The request itself.
    pub request: &'a R,
    /// Earlier attempts.
    pub tried: Tried,
}

/// The events of one choice from one server. Dropping the stream before its end cancels the choice at the server.
pub struct EventStream {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// The server's free capacity when it took the request, if known.
    pub capacity: Option<Capacity>,
    events: mpsc::Receiver<Event>,
    /// Called when the stream is dropped before its end.
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

impl EventStream {
    /// A stream of `events`. `cancel` ends the choice at the server.
    pub fn new(events: mpsc::Receiver<Event>, cancel: impl FnOnce() + Send + 'static) -> Self {
        Self { prompt_tokens: 0, capacity: None, events, cancel: Some(Box::new(cancel)) }
    }

    /// The next event. The backend closes a full queue, because it does not wait for a client that reads too slowly.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        self.events.poll_recv(context).map(|event| {
            let event = event.unwrap_or_else(|| {
                let text = "the client reads too slowly: cancelled";
                Event::Failed(Error::new(ErrorKind::Cancelled, Origin::Client, text))
            });
            if event.is_last() {
                self.cancel = None;
            }
            event
        })
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}
