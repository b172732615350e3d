//! Gives requests to a backend. Generations and calls share one retry policy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::generate::{Choice, Event, Generation, Prompt};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::supervisor::KeepAlive;
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Resource, Result};
use tokio_util::sync::CancellationToken;

use super::choices::Choices;
use crate::access::Tenant;
use crate::backends::{Attempted, Backend, Call, EventStream, GenerateAttempt, Probe, Tried};
use crate::inference::course::Course;
use crate::inference::original::Original;
use crate::inference::request::PromptRequest;

/// A worker reports the end of a request's time limit itself. If it does not, the gateway does so after this time.
const WORKER_GRACE: Duration = Duration::from_secs(1);

/// A request that so many servers ended with is not given to another one.
const MAX_ENDED: u32 = 2;

/// Resolves with the reason why a request must be aborted.
pub(super) type Limit = BoxFuture<'static, Error>;

/// Gives requests to the backend, and retries while servers refuse them or are lost.
pub struct Dispatcher {
    backend: Arc<dyn Backend>,
    /// Retries per request.
    retries: u32,
    stopping: CancellationToken,
    /// Counts since the gateway started.
    pub counters: Counters,
}

/// Counts since the gateway started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Retries at another server.
    pub recoveries: AtomicU64,
    /// Requests that have used up their retries.
    pub given_up: AtomicU64,
}

/// One prompt, and one output or several.
#[derive(Debug, Clone, Default)]
pub struct GenerateRequest {
    /// Id or alias of the model.
    pub model: String,
    /// The sender, whose key bounds the models and the priority.
    pub sender: Tenant,
    /// The id of the client's request, for the logs.
    pub request_id: String,
    /// Requests of different scopes share no cached text.
    pub cache_scope: String,
    /// The prompt and the parameters of its outputs.
    pub generation: Generation,
    /// The number of outputs; at least 1.
    pub choices: u32,
    /// How long the model stays loaded when it is idle; `None` if the request does not set it.
    pub keep_alive: Option<KeepAlive>,
    /// Requests with the same value go to the same server, whose prefix cache holds their beginning.
    pub affinity: Option<String>,
    /// The request as the client sent it, if a provider of the same protocol may answer it.
    pub original: Option<Arc<Original>>,
    /// Whether the client said nothing of reasoning, and the prompt assumes that it wants none. A provider's model then has its own
    /// default: many refuse to be told.
    pub assumes_no_thinking: bool,
    /// The course of the client's request.
    pub course: Arc<Course>,
}

/// The model of a call without a stream, and the limits of the call.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// Id or alias of the model.
    pub model: String,
    /// The sender, whose key bounds the models.
    pub sender: Tenant,
    /// How long the model stays loaded when it is idle; `None` if the request does not set it.
    pub keep_alive: Option<KeepAlive>,
    /// Milliseconds after which the call fails, loading included.
    pub time_limit_ms: Option<u32>,
    /// The course of the client's request.
    pub course: Arc<Course>,
}

impl Dispatcher {
    /// A dispatcher that retries each request up to `retries` times.
    pub fn new(backend: Arc<dyn Backend>, retries: u32) -> Self {
        Self { backend, retries, stopping: CancellationToken::new(), counters: Counters::default() }
    }

    /// Fails everything that still runs, before the process ends.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Starts generations, at least one. Returns the events of all their choices.
    ///
    /// # Errors
    /// Unknown or broken model, a request that does not fit it, no capacity, no time left. All come before the first token.
    pub async fn generate(self: &Arc<Self>, requests: Vec<GenerateRequest>) -> Result<Choices> {
        let deadline = requests.first().and_then(|request| request.generation.time_limit_ms);
        let deadline =
            deadline.map(|limit| Instant::now() + Duration::from_millis(limit.into()) + WORKER_GRACE);
        let mut limit = self.limit(deadline);
        let begin = async {
            let mut choices = Vec::new();
            for request in requests {
                let mut attempts = GenerateAttempts::new(Arc::clone(self), request);
                let streams = attempts.begin().await?;
                choices.extend(streams.into_iter().zip(attempts.split()));
            }
            Ok(choices)
        };
        let choices = tokio::select! {
            begun = begin => begun?,
            error = &mut limit => return Err(error),
        };
        Ok(Choices::new(choices, limit))
    }

    /// Asks the provider of this name for its models.
    ///
    /// # Errors
    /// There is no such provider. The inner error is the provider's.
    pub async fn probe(&self, provider: &str) -> Result<Result<Probe>> {
        let text = || format!("there is no provider \"{provider}\"");
        self.backend.probe(provider).await.ok_or_else(|| Error::not_found(Resource::Provider, text()))
    }

    /// Texts → vectors.
    ///
    /// # Errors
    /// Unknown or broken model, one that does not embed, a request that does not fit it.
    pub async fn embed(&self, target: &Target, request: &EmbedRequest) -> Result<Embeddings> {
        self.call(target, |tried| self.backend.embed(call(target, request, tried))).await
    }

    /// A query and documents → scores.
    ///
    /// # Errors
    /// As [`Self::embed`].
    pub async fn rerank(&self, target: &Target, request: &RerankRequest) -> Result<Scores> {
        self.call(target, |tried| self.backend.rerank(call(target, request, tried))).await
    }

    /// The number of tokens of all prompts together, as the model would receive them.
    ///
    /// # Errors
    /// Unknown or broken model, a prompt that its template refuses.
    pub async fn count_tokens(&self, target: &Target, prompts: &[Prompt]) -> Result<u32> {
        self.call(target, |tried| self.backend.count_tokens(call(target, prompts, tried))).await
    }

    /// The prompts as the model would receive them.
    ///
    /// # Errors
    /// As [`Self::count_tokens`].
    pub async fn render(&self, target: &Target, prompts: &[Prompt]) -> Result<Vec<RenderedPrompt>> {
        self.call(target, |tried| self.backend.render(call(target, prompts, tried))).await
    }

    /// Text or prompt → token ids.
    ///
    /// # Errors
    /// As [`Self::count_tokens`].
    pub async fn tokenize(&self, target: &Target, request: &TokenizeRequest) -> Result<Tokenized> {
        self.call(target, |tried| self.backend.tokenize(call(target, request, tried))).await
    }

    /// Token ids → text.
    ///
    /// # Errors
    /// Unknown or broken model, a token id that it does not have.
    pub async fn detokenize(&self, target: &Target, tokens: &[u32]) -> Result<String> {
        self.call(target, |tried| self.backend.detokenize(call(target, tokens, tried))).await
    }

    /// Attempts a call until a server answers, within the time limit. Dropping the future cancels the call at the server.
    async fn call<T, F>(&self, target: &Target, attempt: impl Fn(Tried) -> F) -> Result<T>
    where
        F: Future<Output = Result<Attempted<T>>>,
    {
        let limit = target.time_limit_ms.map(|limit| Instant::now() + Duration::from_millis(limit.into()));
        let mut budget = Budget::new(self.retries, Arc::clone(&target.course));
        let answer = async {
            loop {
                let Attempted { server, outcome } = attempt(budget.tried.clone()).await?;
                match outcome {
                    Err(error) if error.disposition == Disposition::RetryElsewhere => {
                        if budget.tried.lost.replace(server).is_some() {
                            self.backend.excuse(&target.model, &target.course, server);
                        }
                        budget.blame(&self.counters, &error)?;
                        let lost = Lost { model: &target.model, generated: 0, server };
                        if !budget.spend(&self.counters, &lost, &error) {
                            return Err(error);
                        }
                    }
                    outcome => return outcome,
                }
            }
        };
        tokio::select! {
            answer = answer => answer,
            error = self.limit(limit) => Err(error),
        }
    }

    /// Resolves at the deadline, if there is one, or when the gateway stops.
    fn limit(&self, deadline: Option<Instant>) -> Limit {
        let stopping = self.stopping.clone();
        Box::pin(async move {
            let late = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = late => too_late(),
                () = stopping.cancelled() => {
                    let text =
                        "the server was stopped or replaced before the request had ended; send it again";
                    Error::new(ErrorKind::Unavailable, Origin::Gateway, text)
                }
            }
        })
    }
}

fn call<'a, R: ?Sized>(target: &'a Target, request: &'a R, tried: Tried) -> Call<'a, R> {
    let Target { model, sender, keep_alive, course, .. } = target;
    Call { model, sender, keep_alive: *keep_alive, request, tried, course }
}

/// The rest of a time limit in milliseconds, for a request that arrived at `arrived`. `None` if there is no limit.
///
/// # Errors
/// The limit has passed.
pub fn time_left_ms(limit_ms: Option<u32>, arrived: Instant) -> Result<Option<u32>> {
    let Some(limit) = limit_ms else { return Ok(None) };
    let elapsed = u32::try_from(arrived.elapsed().as_millis()).unwrap_or(u32::MAX);
    limit.checked_sub(elapsed).filter(|left| *left > 0).ok_or_else(too_late).map(Some)
}

fn too_late() -> Error {
    let text = "the request did not end within its time limit";
    Error::new(ErrorKind::Timeout, Origin::Gateway, text).with_disposition(Disposition::Final)
}

/// The retries that a request has left, and the servers that it has tried.
#[derive(Debug, Clone)]
struct Budget {
    left: u32,
    tried: Tried,
    /// Servers that ended while they read the request.
    ended: u32,
    course: Arc<Course>,
}

/// A request that a server has refused or lost, for the log.
struct Lost<'a> {
    model: &'a str,
    /// Tokens generated before the loss.
    generated: usize,
    server: u64,
}

impl Budget {
    fn new(retries: u32, course: Arc<Course>) -> Self {
        Self { left: retries, tried: Tried::default(), ended: 0, course }
    }

    /// Counts a server that has ended before it answered with `cause`.
    ///
    /// # Errors
    /// It is the second one. The request is to blame then, and would end the next one too.
    fn blame(&mut self, counters: &Counters, cause: &Error) -> Result<()> {
        // A server that only refuses says so itself.
        let ended = cause.kind == ErrorKind::Unavailable && cause.origin == Origin::Gateway;
        self.ended += u32::from(ended);
        if self.ended < MAX_ENDED {
            return Ok(());
        }
        counters.given_up.fetch_add(1, Ordering::Relaxed);
        tracing::error!(servers = self.ended, %cause, "servers ended while they read a request: given up");
        let text = format!(
            "{} worker processes ended one after another while they read this request: it is not tried again",
            self.ended
        );
        Err(Error::new(ErrorKind::Internal, Origin::Gateway, text).with_disposition(Disposition::Final))
    }

    /// Uses up one retry after a failure at a server. Returns false if none is left.
    fn spend(&mut self, counters: &Counters, lost: &Lost, cause: &Error) -> bool {
        let Lost { model, generated, server } = *lost;
        let Some(left) = self.left.checked_sub(1) else {
            counters.given_up.fetch_add(1, Ordering::Relaxed);
            tracing::error!(model, server, generated, %cause, "a request was lost too often: given up");
            return false;
        };
        self.left = left;
        self.tried.excluded.push(server);
        self.course.recover();
        counters.recoveries.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(model, server, generated, left, %cause, "a request goes to another server");
        true
    }
}

/// The attempts at some choices of a request, with the state that another server needs to continue them.
#[derive(Clone)]
pub(super) struct GenerateAttempts {
    dispatcher: Arc<Dispatcher>,
    request: Arc<GenerateRequest>,
    choices: Vec<Choice>,
    drawn_seed: u64,
    /// The client already has the log probabilities of the prompt.
    has_prompt_scores: bool,
    arrived: Instant,
    budget: Budget,
    /// The server that has the choices now.
    server: Option<u64>,
}

/// A failover in progress. It takes the attempts and returns them.
pub(super) type Failover = BoxFuture<'static, (GenerateAttempts, Result<EventStream>)>;

impl GenerateAttempts {
    /// For a request that has just arrived.
    fn new(dispatcher: Arc<Dispatcher>, request: GenerateRequest) -> Self {
        let drawn_seed = uuid::Uuid::new_v4().as_u64_pair().0;
        let choices = (0..request.choices).map(|index| Choice { index, ..Choice::default() }).collect();
        let budget = Budget::new(dispatcher.retries, Arc::clone(&request.course));
        let request = Arc::new(request);
        let arrived = Instant::now();
        Self {
            dispatcher,
            request,
            choices,
            drawn_seed,
            has_prompt_scores: false,
            arrived,
            budget,
            server: None,
        }
    }

    /// Attempts for each choice alone. From here on each choice fails over by itself.
    fn split(self) -> impl Iterator<Item = Self> {
        let choices = self.choices.clone();
        choices.into_iter().map(move |choice| Self { choices: vec![choice], ..self.clone() })
    }

    /// Gives the choices to a server. Retries while servers refuse them, or are lost before they accept them.
    async fn begin(&mut self) -> Result<Vec<EventStream>> {
        // Before the first copy of the prompt.
        self.dispatcher.backend.check(&self.request.model, &self.request.generation)?;
        loop {
            let Attempted { server, outcome } = self.dispatcher.backend.generate(self.attempt()?).await?;
            match outcome {
                Ok(streams) => {
                    self.server = Some(server);
                    return Ok(streams);
                }
                Err(error) if error.disposition == Disposition::RetryElsewhere => {
                    if let Err(blamed) = self.budget.blame(&self.dispatcher.counters, &error) {
                        self.dispatcher.backend.excuse(&self.request.model, &self.request.course, server);
                        return Err(blamed);
                    }
                    if !self.spend(server, &error) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The next attempt, with the rest of the time limit.
    fn attempt(&self) -> Result<GenerateAttempt> {
        let request = &*self.request;
        let mut generation = request.generation.clone();
        generation.priority = request.sender.priority(generation.priority);
        generation.time_limit_ms = time_left_ms(generation.time_limit_ms, self.arrived)?;
        if let Some(logprobs) = &mut generation.logprobs {
            logprobs.prompt &= !self.has_prompt_scores;
        }
        // The client has seen the end of its prompt's progress.
        generation.report_progress &= self.generated() == 0;
        Ok(GenerateAttempt {
            model: request.model.clone(),
            sender: request.sender.clone(),
            request_id: request.request_id.clone(),
            cache_scope: request.cache_scope.clone(),
            generation,
            choices: self.choices.clone(),
            drawn_seed: self.drawn_seed,
            keep_alive: request.keep_alive,
            affinity: request.affinity.clone(),
            original: request.original.clone(),
            assumes_no_thinking: request.assumes_no_thinking,
            tried: self.budget.tried.clone(),
            course: Arc::clone(&request.course),
        })
    }

    fn spend(&mut self, server: u64, cause: &Error) -> bool {
        if self.budget.tried.lost.is_some() {
            self.dispatcher.backend.excuse(&self.request.model, &self.request.course, server);
        }
        let lost = Lost { model: &self.request.model, generated: self.generated(), server };
        self.budget.spend(&self.dispatcher.counters, &lost, cause)
    }

    /// Tokens that lost servers have generated.
    fn generated(&self) -> usize {
        self.choices.iter().map(|choice| choice.generated.len()).sum()
    }

    /// Records an event before the client gets it.
    pub(super) fn record(&mut self, event: &Event) {
        match event {
            Event::Delta(delta) => {
                for choice in &mut self.choices {
                    choice.generated.extend_from_slice(&delta.tokens);
                }
            }
            Event::Prompt { .. } => self.has_prompt_scores = true,
            Event::Progress(_) | Event::Finished { .. } | Event::Failed(_) => {}
        }
    }

    /// Moves the choices to another server after `failure`. `None` if another server cannot help, or no retry is left.
    pub(super) fn fail_over(&mut self, failure: &Error) -> Option<Failover> {
        let server = self.server?;
        let continues =
            self.dispatcher.backend.capabilities(&self.request.course).resumable || self.generated() == 0;
        if failure.disposition != Disposition::RetryElsewhere || !continues || !self.spend(server, failure) {
            return None;
        }
        self.budget.tried.lost = Some(server);
        let (mut attempts, lost) = (self.clone(), Instant::now());
        Some(Box::pin(async move {
            let stream = attempts.begin().await.map(|mut streams| streams.swap_remove(0));
            if stream.is_ok() {
                tracing::info!(
                    model = attempts.request.model,
                    generated = attempts.generated(),
                    after_ms = lost.elapsed().as_millis() as u64,
                    "a request goes on"
                );
            }
            (attempts, stream)
        }))
    }
}

impl Target {
    /// Splits a request of `sender` about prompts into its target and the prompts.
    pub fn from_prompts(sender: Tenant, request: PromptRequest) -> (Self, Vec<Prompt>) {
        let PromptRequest { model, prompts, keep_alive, time_limit_ms } = request;
        (Self { model, sender, keep_alive, time_limit_ms, ..Self::default() }, prompts)
    }
}
