//! Chat and completions: one path for both, streamed or whole.

use std::convert::Infallible;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Extract};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use ipc_proto::generate::Event;
use ipc_proto::{Error, ErrorKind, Result, Source};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use crate::audit::record::Observed;
use crate::backend::Events;
use crate::body;
use crate::error::ApiError;
use crate::middleware::request_id::RequestId;
use crate::state::State;
use crate::translate::openai::{Chunks, Endpoint, Head};
use crate::translate::sse;
use crate::validate::{self, Streaming, ValidRequest};

/// How long a stream waits for its first event before it answers 200: until then a failure still gets its own status.
const STATUS_PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which a stream shows that it is alive: loading and long prompts take longer than clients wait.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// Writes that may wait for a slow connection.
const WRITES_AHEAD: usize = 16;

/// `POST /v1/chat/completions`.
///
/// # Errors
/// Everything that goes wrong before the first token.
pub async fn chat(
    Extract(state): Extract<State>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> std::result::Result<Response, ApiError> {
    let valid = validate::chat(body::json(request).await?)?;
    Ok(generate(state, &id, Endpoint::Chat, valid).await?)
}

/// `POST /v1/completions`.
///
/// # Errors
/// Everything that goes wrong before the first token.
pub async fn completions(
    Extract(state): Extract<State>,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> std::result::Result<Response, ApiError> {
    let valid = validate::completion(body::json(request).await?)?;
    Ok(generate(state, &id, Endpoint::Completions, valid).await?)
}

async fn generate(state: State, id: &RequestId, endpoint: Endpoint, valid: ValidRequest) -> Result<Response> {
    let prefix = match endpoint {
        Endpoint::Chat => "chatcmpl",
        Endpoint::Completions => "cmpl",
    };
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let answer_id = format!("{prefix}-{}", uuid::Uuid::new_v4().simple());
    let head = Head { endpoint, id: answer_id, created, model: valid.model.clone() };
    let observed = Observed::new(state.audit.clone(), &id.0, endpoint.path(), &valid);
    match valid.stream {
        None => whole(state, head, valid, observed).await,
        Some(streaming) => stream(state, head, valid, observed, streaming).await,
    }
}

async fn whole(state: State, head: Head, valid: ValidRequest, mut observed: Observed) -> Result<Response> {
    let mut events = observed.begin(state.local.generate(&valid.model, valid.generate).await)?;
    let (mut answer, mut told) = (String::new(), Vec::new());
    loop {
        let event = events.next().await;
        observed.see(&event);
        match event {
            Event::Prompt { .. } => {}
            Event::Delta(delta) => {
                answer.push_str(&delta.text());
                told.extend(delta.logprobs);
            }
            Event::Failed(error) => return Err(error),
            Event::Finished { reason, usage } => {
                let json = head.answer(answer, &told, reason, usage).map_err(|e| {
                    Error::new(
                        ErrorKind::Internal,
                        Source::Gateway,
                        format!("the answer cannot be written: {e}"),
                    )
                })?;
                let kind = (header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
                return Ok(([kind], json).into_response());
            }
        }
    }
}

/// The first event together with the rest.
type Begun = Result<(Events, Event)>;

async fn stream(
    state: State,
    head: Head,
    valid: ValidRequest,
    mut observed: Observed,
    streaming: Streaming,
) -> Result<Response> {
    let mut beginning = Box::pin(async move {
        let mut events = state.local.generate(&valid.model, valid.generate).await?;
        match events.next().await {
            Event::Failed(error) => Err(error),
            first => Ok((events, first)),
        }
    });
    let begun = match tokio::time::timeout(STATUS_PATIENCE, &mut beginning).await {
        Ok(begun) => Some(observed.begin(begun)?),
        Err(_) => None,
    };
    let (sender, receiver) = mpsc::channel(WRITES_AHEAD);
    let mut writer = Writer { chunks: Chunks::new(head, streaming.include_usage), observed, sender };
    tokio::spawn(async move {
        match begun {
            Some((events, first)) => writer.write(events, first).await,
            None => writer.wait(beginning).await,
        }
    });
    let body = Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // nginx would hold the tokens back otherwise.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, body).into_response())
}

/// Writes one stream. When the client leaves, the channel closes, the task ends, and dropping the events cancels.
struct Writer {
    chunks: Chunks,
    observed: Observed,
    sender: mpsc::Sender<Bytes>,
}

impl Writer {
    /// Keeps the connection alive until the generation has begun.
    async fn wait(&mut self, mut beginning: impl Future<Output = Begun> + Unpin) {
        loop {
            if !self.send(sse::KEEP_ALIVE.to_vec()).await {
                return;
            }
            tokio::select! {
                begun = &mut beginning => match self.observed.begin(begun) {
                    Ok((events, first)) => return self.write(events, first).await,
                    Err(error) => {
                        let mut buffer = Vec::new();
                        self.chunks.fail(&mut buffer, &error);
                        self.send(buffer).await;
                        return;
                    }
                },
                () = tokio::time::sleep(KEEP_ALIVE_EVERY) => {}
                () = self.sender.closed() => return,
            }
        }
    }

    async fn write(&mut self, mut events: Events, first: Event) {
        let mut next = Some(first);
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => tokio::select! {
                    event = events.next() => event,
                    () = self.sender.closed() => return,
                    () = tokio::time::sleep(KEEP_ALIVE_EVERY) => {
                        if !self.send(sse::KEEP_ALIVE.to_vec()).await {
                            return;
                        }
                        continue;
                    }
                },
            };
            let mut buffer = Vec::with_capacity(256);
            let mut ended = self.push(&mut buffer, &event);
            // What has come meanwhile goes out in the same write.
            while !ended && let Some(event) = events.try_next() {
                ended = self.push(&mut buffer, &event);
            }
            if !self.send(buffer).await || ended {
                return;
            }
        }
    }

    fn push(&mut self, buffer: &mut Vec<u8>, event: &Event) -> bool {
        self.observed.see(event);
        self.chunks.push(buffer, event)
    }

    async fn send(&self, buffer: Vec<u8>) -> bool {
        self.sender.send(Bytes::from(buffer)).await.is_ok()
    }
}
