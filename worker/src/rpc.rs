//! Answers control connections and carries step frames.
//!
//! Everything here runs on tokio; the engine is reached by commands only and is never waited for.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use futures::StreamExt;
use ipc_proto::embed::{EmbedRequest, Embeddings, RerankRequest, Scores};
use ipc_proto::generate::{GenerateRequest, Prompt, RequestId};
use ipc_proto::prompt::{RenderedPrompt, TokenizeRequest, Tokenized};
use ipc_proto::socket::{self, Channel};
use ipc_proto::stream::StreamId;
use ipc_proto::worker::{Accepted, Health, Memory, ModelInfo, ModelKind, Progress, Worker};
use ipc_proto::{Error, ErrorKind, Result, Source};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::adapters::model_files::ModelFiles;
use crate::embed::admission::Reader;
use crate::engine::arrivals::Arrivals;
use crate::engine::command::{Arriving, Command};
use crate::engine::counters::Counters;
use crate::engine::places::Places;
use crate::{admission, prompts};

mod embed;
pub mod steps;

/// What loading ended with.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Told to whoever asks.
    pub info: ModelInfo,
    /// The text side of the model.
    pub files: Arc<ModelFiles>,
    /// How texts are read, where the model reads only.
    pub reader: Option<Arc<Reader>>,
}

/// `None` while loading.
pub type Loading = watch::Receiver<Option<Result<Ready>>>;

/// The worker's services; clones are the same services.
#[derive(Debug, Clone)]
pub struct Server {
    loading: Loading,
    engine: Sender<Command>,
    counters: Arc<Counters>,
    arrivals: Arrivals,
    names: steps::Names,
    places: Places,
    sending: TaskTracker,
    closing: Arc<AtomicBool>,
}

impl Server {
    /// Services in front of an engine; requests that have no place among `places` are refused.
    pub fn new(loading: Loading, engine: Sender<Command>, counters: Arc<Counters>, places: Places) -> Self {
        Self {
            loading,
            engine,
            counters,
            arrivals: Arrivals::default(),
            names: steps::Names::default(),
            places,
            sending: TaskTracker::new(),
            closing: Arc::default(),
        }
    }

    /// Serves every connection to `listener`, for ever.
    pub async fn serve(self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => self.clone().spawn(stream),
                Err(error) => {
                    // Out of descriptors, most likely: some will be free again.
                    tracing::error!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Takes no more requests: whoever comes is told to look for another worker.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Waits until the frames of an engine that has ended are on their way.
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
                    let Self { names, engine, sending, .. } = self;
                    sending.track_future(steps::serve(socket::framed(stream), names, engine)).await
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
        let loading = || Error::new(ErrorKind::Unavailable, Source::Worker, "the model is still loading");
        self.loading.borrow().clone().unwrap_or_else(|| Err(loading()))
    }

    /// Asks the engine, which answers between two steps.
    async fn ask<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T> {
        self.ready()?;
        let gone = || Error::new(ErrorKind::Unavailable, Source::Worker, "the worker has stopped");
        let (reply, answer) = oneshot::channel();
        self.engine.send(command(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    /// Works on the model's text side, off the threads that move frames. The work gets the model's context in tokens.
    async fn with_files<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ModelFiles, u32) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let Ready { files, info, .. } = self.ready()?;
        let done = tokio::task::spawn_blocking(move || work(&files, info.max_context));
        let broken = |e: tokio::task::JoinError| {
            Error::new(ErrorKind::Internal, Source::Worker, format!("tokenising failed: {e}"))
        };
        done.await.map_err(broken)?
    }

    async fn admit(&self, stream: StreamId, request: GenerateRequest) -> Result<Accepted> {
        let fault = |kind, text: &str| Error::new(kind, Source::Worker, text);
        let ready = self.ready()?;
        embed::expect(&ready.info, ModelKind::Generate)?;
        if !self.names.contains(stream) {
            return Err(fault(ErrorKind::Unavailable, "the step-frame connection is not open"));
        }
        if self.closing.load(Ordering::Relaxed) {
            return Err(fault(ErrorKind::Unavailable, "the worker is shutting down"));
        }
        let twice = "two requests of one name";
        let entered = self.arrivals.enter(stream, request.id);
        let arrival = entered.ok_or_else(|| fault(ErrorKind::InvalidRequest, twice))?;
        let place = self.places.take(ModelKind::Generate)?;
        let max_length = ready.info.max_context.min(self.counters.max_length());
        // A long prompt takes milliseconds to tokenise: not on the threads that move frames.
        let admitted =
            tokio::task::spawn_blocking(move || admission::admit(&ready.files, max_length, stream, request));
        let broken =
            |e: tokio::task::JoinError| fault(ErrorKind::Internal, &format!("tokenising failed: {e}"));
        let submission = admitted.await.map_err(broken)??;
        let prompt_tokens = submission.order.prompt.len() as u32;
        if !arrival.wanted() {
            return Err(fault(ErrorKind::Cancelled, "the request was cancelled"));
        }
        // Before the engine has it: a short request may end sooner than this is answered.
        let room = self.places.room(ModelKind::Generate);
        let command = Command::Submit(Box::new(Arriving { submission, arrival, place }));
        self.engine.send(command).map_err(|_| fault(ErrorKind::Unavailable, "the worker has stopped"))?;
        Ok(Accepted { prompt_tokens, room })
    }
}

impl Worker for Server {
    async fn wait_ready(mut self, _: Context) -> Result<ModelInfo> {
        match self.loading.wait_for(Option::is_some).await.map(|outcome| outcome.clone()) {
            Ok(Some(outcome)) => outcome.map(|ready| ready.info),
            // The engine died while loading: the process is about to end, and the connection says so.
            _ => pending().await,
        }
    }

    async fn submit(self, _: Context, stream: StreamId, request: GenerateRequest) -> Result<Accepted> {
        self.admit(stream, request).await
    }

    async fn count_tokens(self, _: Context, prompt: Prompt) -> Result<u32> {
        let read = self.with_files(move |files, _| prompts::read(files, &prompt)).await?;
        Ok(read.0.len() as u32)
    }

    async fn render(self, _: Context, prompt: Prompt) -> Result<RenderedPrompt> {
        self.with_files(move |files, max_context| prompts::render(files, &prompt, max_context)).await
    }

    async fn tokenize(self, _: Context, request: TokenizeRequest) -> Result<Tokenized> {
        self.with_files(move |files, max_context| prompts::tokenize(files, &request, max_context)).await
    }

    async fn detokenize(self, _: Context, tokens: Vec<u32>) -> Result<String> {
        self.with_files(move |files, _| prompts::detokenize(files, &tokens)).await
    }

    async fn embed(self, _: Context, request: EmbedRequest) -> Result<Embeddings> {
        self.read(request).await
    }

    async fn rerank(self, _: Context, request: RerankRequest) -> Result<Scores> {
        self.judge(request).await
    }

    async fn cancel(self, _: Context, stream: StreamId, id: RequestId) {
        self.arrivals.cancel(stream, id);
        // Without an engine there is nothing to cancel.
        self.engine.send(Command::Cancel(stream, id)).ok();
    }

    async fn health(self, _: Context) -> Health {
        Health { waiting: self.waiting() as u32, ..self.counters.health() }
    }

    async fn progress(self, _: Context) -> Progress {
        self.counters.progress()
    }

    async fn resize_kv(self, _: Context, bytes: u64) -> Result<u64> {
        self.ask(|reply| Command::ResizeKv(bytes, reply)).await
    }

    async fn trim(self, _: Context) -> Result<Memory> {
        self.ask(Command::Trim).await
    }
}
