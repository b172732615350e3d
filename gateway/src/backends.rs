//! Backends: each serves neutral requests for some models. [`by_name`] chooses one by the model's name; the dispatcher retries.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use hyper::HeaderMap;
use hyper::body::Bytes;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::generate::{Choice, Event, Generation, Prompt};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::supervisor::KeepAlive;
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, ErrorKind, Origin, Result};
use tokio::sync::mpsc;

use crate::access::Tenant;
use crate::inference::course::Course;
use crate::inference::original::Original;

pub mod by_name;
pub mod judging;
pub mod local;
pub mod providers;

/// Serves requests. Each call is one attempt at one server: a worker process, or a provider.
pub trait Backend: Send + Sync + 'static {
    /// The features that the dispatcher depends on, of the server that was asked last in the course of a request.
    fn capabilities(&self, course: &Course) -> Capabilities;

    /// Refuses a generation that certainly does not fit its model, as far as that is known here. Does not wait.
    ///
    /// # Errors
    /// The prompt is too long.
    fn check(&self, _model: &str, _generation: &Generation) -> Result<()> {
        Ok(())
    }

    /// Begins a generation: one stream for each of its choices.
    fn generate(&self, attempt: GenerateAttempt) -> BoxFuture<'_, Attempt<Vec<EventStream>>>;

    /// Reports that a request lost `server` after it had lost another one. Does not wait.
    fn excuse(&self, model: &str, course: &Course, server: u64);

    /// Asks the provider of this name for its models. `None` if there is no such provider.
    fn probe<'a>(&'a self, provider: &'a str) -> BoxFuture<'a, Option<Result<Probe>>>;

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

/// The answer of a provider to a test of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The models in its list, sorted.
    pub listed: Vec<ListedModel>,
    /// The models of the settings that its list does not have, sorted.
    pub missing: Vec<String>,
    /// The time that it took.
    pub elapsed: Duration,
}

/// A model in the list of a provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedModel {
    /// Its id there.
    pub id: String,
    /// The maximum of prompt and output together, in tokens, if the list says it.
    pub context: Option<u32>,
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
    /// The sender, whose key bounds the models.
    pub sender: Tenant,
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
    /// The request as the client sent it, if a provider of the same protocol may answer it.
    pub original: Option<Arc<Original>>,
    /// Whether the client said nothing of reasoning, and the prompt assumes that it wants none. A provider's model then has its own
    /// default: many refuse to be told.
    pub assumes_no_thinking: bool,
    /// Earlier attempts.
    pub tried: Tried,
    /// The course of the client's request.
    pub course: Arc<Course>,
}

/// One attempt at a call without a stream.
#[derive(Debug)]
pub struct Call<'a, R: ?Sized> {
    /// Id or alias of the model.
    pub model: &'a str,
    /// The sender, whose key bounds the models.
    pub sender: &'a Tenant,
    /// How long the model stays loaded when it is idle; `None` if the request does not set it.
    pub keep_alive: Option<KeepAlive>,
    /// The request itself.
    pub request: &'a R,
    /// Earlier attempts.
    pub tried: Tried,
    /// The course of the client's request.
    pub course: &'a Arc<Course>,
}

/// The events of one choice from one server. Dropping the stream before its end cancels the choice at the server.
pub struct EventStream {
    /// Tokens of the rendered prompt.
    pub prompt_tokens: u32,
    /// The server's free capacity when it took the request, if known.
    pub capacity: Option<Capacity>,
    /// The whole answer as the provider sends it, for a client of the same protocol. Only the first choice of a request has it.
    pub verbatim: Option<Box<Verbatim>>,
    events: mpsc::Receiver<Event>,
    /// Events that have been received and not yet been read.
    early: VecDeque<Event>,
    /// Called when the stream is dropped before its end. Begins the cancellation; the future ends with it.
    cancel: Option<Cancel>,
}

/// Cancels a choice at its server.
type Cancel = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// An answer in the client's own protocol.
pub struct Verbatim {
    /// Headers for the client.
    pub headers: HeaderMap,
    /// The events of a stream, or the whole body in one piece. Ends after an error.
    pieces: mpsc::Receiver<Result<Bytes>>,
    /// A piece that has been received and not yet been read.
    early: Option<Result<Bytes>>,
}

impl Verbatim {
    /// An answer with these headers.
    pub fn new(headers: HeaderMap, pieces: mpsc::Receiver<Result<Bytes>>) -> Self {
        Self { headers, pieces, early: None }
    }

    /// The next piece; `None` after the last one. Dropping the call loses nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        match self.early.take() {
            Some(piece) => Some(piece),
            None => self.pieces.recv().await,
        }
    }

    async fn wait(&mut self) {
        if self.early.is_none() {
            self.early = self.pieces.recv().await;
        }
    }

    fn early_failure(&self) -> Option<Error> {
        self.early.as_ref()?.as_ref().err().cloned()
    }
}

impl EventStream {
    /// A stream of `events`. `cancel` begins to end the choice at the server, and returns the rest of it.
    pub fn new(
        events: mpsc::Receiver<Event>,
        cancel: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> Self {
        let (early, cancel): (_, Cancel) = (VecDeque::new(), Box::new(cancel));
        Self { prompt_tokens: 0, capacity: None, verbatim: None, events, early, cancel: Some(cancel) }
    }

    /// Cancels the choice, and waits until its server has ended it.
    pub async fn cancel(mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel().await;
        }
    }

    /// Waits until the output has begun, has ended or has failed. Nothing is lost.
    pub async fn wait_for_output(&mut self) {
        if let Some(verbatim) = &mut self.verbatim {
            verbatim.wait().await;
            return;
        }
        while self.early.iter().all(|event| matches!(event, Event::Progress(_))) {
            let event = poll_fn(|context| self.poll_received(context)).await;
            self.early.push_back(event);
        }
    }

    /// The failure before all output, if the stream has so failed.
    pub fn early_failure(&mut self) -> Option<Error> {
        if let Some(error) = self.verbatim.as_mut().and_then(|verbatim| verbatim.early_failure()) {
            return Some(error);
        }
        match self.early.back() {
            Some(Event::Failed(error)) => Some(error.clone()),
            _ => None,
        }
    }

    /// The next event. The backend closes a full queue, because it does not wait for a client that reads too slowly.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        match self.early.pop_front() {
            Some(event) => Poll::Ready(event),
            None => self.poll_received(context),
        }
    }

    fn poll_received(&mut self, context: &mut Context<'_>) -> Poll<Event> {
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

impl GenerateAttempt {
    /// Fails if the request has no neutral form, which this attempt's backend needs.
    ///
    /// # Errors
    /// The reason why it has none.
    pub fn need_neutral_form(&self) -> Result<()> {
        let refused = self.original.as_ref().and_then(|original| original.refused.clone());
        refused.map_or(Ok(()), Err)
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            // The cancellation goes on without anyone who waits.
            drop(cancel());
        }
    }
}
