//! Serves control connections and step-frame connections.
//!
//! All of this runs on tokio. It reaches the engine by commands only and never blocks on it.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;

use futures::StreamExt;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::generate::{ChoiceId, Prompt, Submission};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::socket::{self, Channel};
use ipc_proto::stream::StreamId;
use ipc_proto::worker::{Accepted, Health, LoadProgress, Memory, ModelInfo, ModelKind, Worker};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::admission;
use crate::embed::admission::EncoderModel;
use crate::engine::admission_limits::AdmissionLimits;
use crate::engine::arrivals::{Arrival, Arrivals};
use crate::engine::command::{Admitted, Command};
use crate::engine::counters::Counters;
use crate::prompts::{self, Limits};
use crate::text::model_files::ModelFiles;

mod embed;
pub mod steps;
mod texts;

use texts::TextWork;

/// A loaded model, as the RPC layer sees it.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Returned by `wait_ready`.
    pub info: ModelInfo,
    /// The text side of the model.
    pub files: Arc<ModelFiles>,
    /// Tokenises texts for encoders; `None` for models that generate.
    pub reader: Option<Arc<EncoderModel>>,
}

/// `None` while loading.
pub type Loading = watch::Receiver<Option<Result<Ready>>>;

/// The worker's RPC service; clones share its state.
#[derive(Debug, Clone)]
pub struct Server {
    loading: Loading,
    engine: Sender<Command>,
    counters: Arc<Counters>,
    arrivals: Arrivals,
    open_streams: steps::OpenStreams,
    admission_limits: AdmissionLimits,
    texts: TextWork,
    sending: TaskTracker,
    closing: Arc<AtomicBool>,
}

impl Server {
    /// `admission_limits` bounds the number of requests.
    pub fn new(
        loading: Loading,
        engine: Sender<Command>,
        counters: Arc<Counters>,
        admission_limits: AdmissionLimits,
    ) -> Self {
        Self {
            loading,
            engine,
            counters,
            arrivals: Arrivals::default(),
            open_streams: steps::OpenStreams::default(),
            admission_limits,
            texts: TextWork::default(),
            sending: TaskTracker::new(),
            closing: Arc::default(),
        }
    }

    /// Serves every connection to `listener`; never returns.
    pub async fn serve(self, listener: UnixListener) {
        socket::accept_each(&listener, |stream| self.clone().spawn(stream)).await;
    }

    /// Refuses further requests as `Unavailable`, so that the gateway tries another worker.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Waits until the last frames are written. Call it after the engine has ended.
    pub async fn flushed(&self) {
        self.sending.close();
        self.sending.wait().await;
    }

    fn spawn(self, stream: UnixStream) {
        tokio::spawn(async move {
            let ended = match socket::welcome(stream).await {
                Ok((Channel::Control, stream)) => {
                    self.control(stream).await;
                    Ok(())
                }
                Ok((Channel::Steps, stream)) => {
                    let Self { open_streams, engine, sending, .. } = self;
                    sending.track_future(steps::serve(socket::framed(stream), open_streams, engine)).await
                }
                Err(error) => Err(error),
            };
            if let Err(error) = ended {
                tracing::warn!(%error, "a connection failed");
            }
        });
    }

    async fn control(self, stream: UnixStream) {
        let calls = BaseChannel::with_defaults(socket::framed(stream)).execute(Worker::serve(self));
        calls.for_each(|call| async { drop(tokio::spawn(call)) }).await;
    }

    fn waiting(&self) -> usize {
        self.counters.health().waiting as usize + self.arrivals.count()
    }

    fn ready(&self) -> Result<Ready> {
        let loading = || Error::new(ErrorKind::Unavailable, Origin::Worker, "the model is still loading");
        self.loading.borrow().clone().unwrap_or_else(|| Err(loading()))
    }

    /// Sends a command to the engine and waits for its reply, which comes between two steps.
    async fn call_engine<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        self.ready()?;
        let gone = || Error::new(ErrorKind::Unavailable, Origin::Worker, "the worker has stopped");
        let (reply, answer) = oneshot::channel();
        self.engine.send(command(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// Runs `work` on texts of this many bytes, with the model's files and its maximum context in tokens.
    async fn with_files<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce(&ModelFiles, u32, &dyn Fn() -> bool) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Ready { files, info, .. } = self.ready()?;
        self.texts.run(bytes, move |wanted| work(&files, info.max_context, wanted)).await
    }

    async fn admit(&self, stream: StreamId, submission: Box<Submission>, span: Span) -> Result<Accepted> {
        let fault = |kind, text: &str| Error::new(kind, Origin::Worker, text);
        let ready = self.ready()?;
        embed::require_kind(&ready.info, ModelKind::Generate)?;
        if !self.open_streams.contains(stream) {
            return Err(fault(ErrorKind::Unavailable, "the step-frame connection is not open"));
        }
        if self.closing.load(Ordering::Relaxed) {
            return Err(fault(ErrorKind::Unavailable, "the worker is shutting down"));
        }
        let choices = submission.choices.len() as u32;
        if choices == 0 {
            return Err(fault(ErrorKind::InvalidRequest, "the submission has no choices"));
        }
        let entered = submission.choices.iter().map(|choice| self.arrivals.enter(stream, choice.id));
        let arrivals: Option<Vec<Arrival>> = entered.collect();
        let twice = "another choice has the same id";
        let arrivals = arrivals.ok_or_else(|| fault(ErrorKind::InvalidRequest, twice))?;
        let permits = self.admission_limits.acquire(ModelKind::Generate, choices, submission.tenant)?;
        let max_length = ready.info.max_context.min(self.counters.max_length());
        let bytes = prompts::text_bytes(&submission.generation.prompt);
        let is_wanted = self.arrivals.watch(&arrivals);
        let admitted = self.texts.run(bytes, move |wanted| {
            let wanted = || wanted() && is_wanted();
            admission::admit(&ready.files, max_length, (stream, &span), *submission, &wanted)
        });
        let requests = admitted.await?;
        let prompt_tokens = requests.first().map_or(0, |request| request.params.prompt.len()) as u32;
        if !arrivals.iter().any(Arrival::is_wanted) {
            return Err(fault(ErrorKind::Cancelled, "the request was cancelled"));
        }
        // Before the engine has the request: a short one may end before this call returns.
        let capacity = self.admission_limits.capacity(ModelKind::Generate);
        for ((request, arrival), permit) in requests.into_iter().zip(arrivals).zip(permits) {
            let command = Command::Submit(Box::new(Admitted { request, arrival, permit }));
            self.engine.send(command).map_err(|_| fault(ErrorKind::Unavailable, "the worker has stopped"))?;
        }
        tracing::debug!(prompt_tokens, choices, "queued");
        Ok(Accepted { prompt_tokens, capacity })
    }
}

impl Worker for Server {
    async fn wait_ready(mut self, _: Context) -> Result<ModelInfo> {
        match self.loading.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(outcome)) => outcome.map(|ready| ready.info),
            // The engine thread panicked while loading. The process ends soon, which closes the connection.
            _ => pending().await,
        }
    }

    async fn submit(self, _: Context, stream: StreamId, submission: Box<Submission>) -> Result<Accepted> {
        // The level of errors: a filter for warnings must keep the id.
        let span = tracing::error_span!("request", id = submission.request_id);
        self.admit(stream, submission, span.clone()).instrument(span).await
    }

    async fn count_tokens(self, _: Context, prompt: Prompt) -> Result<u32> {
        let bytes = prompts::text_bytes(&prompt);
        let count = move |files: &ModelFiles, _, wanted: &dyn Fn() -> bool| {
            prompts::encode(files, &prompt, Limits { max_context: None, wanted })
        };
        Ok(self.with_files(bytes, count).await?.tokens.len() as u32)
    }

    async fn render(self, _: Context, prompt: Prompt) -> Result<RenderedPrompt> {
        let bytes = prompts::text_bytes(&prompt);
        let render = move |files: &ModelFiles, max_context, wanted: &dyn Fn() -> bool| {
            prompts::render(files, &prompt, max_context, wanted)
        };
        self.with_files(bytes, render).await
    }

    async fn tokenize(self, _: Context, request: TokenizeRequest) -> Result<Tokenized> {
        let bytes = prompts::text_bytes(&request.prompt);
        let tokenize = move |files: &ModelFiles, max_context, wanted: &dyn Fn() -> bool| {
            prompts::tokenize(files, &request, max_context, wanted)
        };
        self.with_files(bytes, tokenize).await
    }

    async fn detokenize(self, _: Context, tokens: Vec<u32>) -> Result<String> {
        self.with_files(0, move |files, _, _| prompts::detokenize(files, &tokens)).await
    }

    async fn embed(self, _: Context, request: EmbedRequest) -> Result<Embeddings> {
        self.embed_texts(request).await
    }

    async fn rerank(self, _: Context, request: RerankRequest) -> Result<Scores> {
        self.rerank_documents(request).await
    }

    async fn cancel(self, _: Context, stream: StreamId, id: ChoiceId) {
        self.arrivals.cancel(stream, id);
        // The send fails only if the engine has ended; then there is nothing to cancel.
        self.engine.send(Command::Cancel(stream, id)).ok();
    }

    async fn health(self, _: Context) -> Health {
        Health { waiting: self.waiting() as u32, ..self.counters.health() }
    }

    async fn progress(self, _: Context) -> LoadProgress {
        self.counters.progress()
    }

    async fn resize_kv(self, _: Context, bytes: u64) -> Result<u64> {
        self.call_engine(|reply| Command::ResizeKv(bytes, reply)).await
    }

    async fn trim(self, _: Context) -> Result<Memory> {
        self.call_engine(Command::Trim).await
    }
}
