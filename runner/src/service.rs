//! Answers the supervisor's calls as a worker does. There is no engine: calls for one are refused.

use std::sync::Arc;
use std::time::Instant;

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
use tokio::sync::watch;

use crate::proxy::Traffic;

/// The outcome of the start; `None` before it.
pub type Outcome = Option<Result<()>>;

/// The service; clones share its state.
#[derive(Debug, Clone)]
pub struct Service {
    outcome: watch::Receiver<Outcome>,
    traffic: Arc<Traffic>,
    since: Instant,
}

impl Service {
    /// A service of a program that starts now.
    pub fn new(outcome: watch::Receiver<Outcome>, traffic: Arc<Traffic>) -> Self {
        Self { outcome, traffic, since: Instant::now() }
    }

    /// Serves every connection to `listener`; never returns.
    pub async fn serve(self, listener: UnixListener) {
        socket::accept_each(&listener, |stream| drop(tokio::spawn(self.clone().connection(stream)))).await;
    }

    async fn connection(self, stream: UnixStream) {
        match socket::welcome(stream).await {
            Ok((Channel::Control, stream)) => {
                let calls = BaseChannel::with_defaults(socket::framed(stream)).execute(Worker::serve(self));
                calls.for_each(|call| async { drop(tokio::spawn(call)) }).await;
            }
            Ok((Channel::Steps, _)) => tracing::warn!("a runner sends no step frames"),
            Err(error) => tracing::warn!(%error, "a connection failed"),
        }
    }
}

fn refused<T>() -> Result<T> {
    let text = "the model's program answers over HTTP only";
    Err(Error::new(ErrorKind::InvalidRequest, Origin::Worker, text))
}

/// What a runner knows of the model.
fn info() -> ModelInfo {
    ModelInfo {
        architecture: String::new(),
        kind: ModelKind::Generate,
        max_context: 0,
        has_chat_template: true,
        weight_bytes: 0,
        token_bound: None,
        keeps_user_turns: false,
    }
}

impl Worker for Service {
    async fn wait_ready(mut self, _: Context) -> Result<ModelInfo> {
        let outcome = self.outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
        match outcome {
            Ok(Some(outcome)) => outcome.map(|()| info()),
            Ok(None) | Err(_) => Err(Error::new(ErrorKind::Unavailable, Origin::Worker, "it is stopping")),
        }
    }

    /// Nobody knows how far the program is. That time passes is its progress.
    async fn progress(self, _: Context) -> LoadProgress {
        LoadProgress { loaded: self.since.elapsed().as_millis() as u64, total: 0 }
    }

    async fn submit(self, _: Context, _: StreamId, _: Box<Submission>) -> Result<Accepted> {
        refused()
    }

    async fn count_tokens(self, _: Context, _: Prompt) -> Result<u32> {
        refused()
    }

    async fn render(self, _: Context, _: Prompt) -> Result<RenderedPrompt> {
        refused()
    }

    async fn tokenize(self, _: Context, _: TokenizeRequest) -> Result<Tokenized> {
        refused()
    }

    async fn detokenize(self, _: Context, _: Vec<u32>) -> Result<String> {
        refused()
    }

    async fn embed(self, _: Context, _: EmbedRequest) -> Result<Embeddings> {
        refused()
    }

    async fn rerank(self, _: Context, _: RerankRequest) -> Result<Scores> {
        refused()
    }

    async fn cancel(self, _: Context, _: StreamId, _: ChoiceId) {}

    async fn health(self, _: Context) -> Health {
        self.traffic.health()
    }

    /// It has no KV cache of ours.
    async fn resize_kv(self, _: Context, _: u64) -> Result<u64> {
        Ok(0)
    }

    async fn trim(self, _: Context) -> Result<Memory> {
        Ok(Memory::default())
    }
}
