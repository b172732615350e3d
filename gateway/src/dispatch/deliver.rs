//! Answers a request, streamed or as a whole, in any protocol.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use ipc_proto::generate::{Event, Generation};
use ipc_proto::worker::Capacity;
use ipc_proto::{Error, Result};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

use super::choices::Choices;
use super::dispatcher::GenerateRequest;
use super::replay_buffer::ReplayBuffer;
use super::{Services, sse};
use crate::access::Tenant;
use crate::audit::record::Observed;
use crate::dispatch::writer::Wire;
use crate::fleet::FleetClient;
use crate::inference::output::{Output, Whole};
use crate::inference::request::InferenceRequest;
use crate::inference::request_id::RequestId;

/// How long a stream waits for its beginning before it answers 200: until then a failure still gets its own status.
const STATUS_PATIENCE: Duration = Duration::from_secs(10);
/// Silence after which a stream shows that it is alive: loading and long prompts take longer than clients wait.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// A supervisor that does not say by then how far a model is loaded is not waited for.
const PROGRESS_PATIENCE: Duration = Duration::from_secs(1);
/// Writes that may wait for a slow connection.
const WRITES_AHEAD: usize = 16;

/// A request on its way to a model.
pub struct Job {
    /// The services that it uses.
    pub services: Services,
    /// The request's id.
    pub id: RequestId,
    /// The request.
    pub request: InferenceRequest,
    /// Records it for the audit log.
    pub observed: Observed,
    /// The sender.
    pub tenant: Tenant,
}

impl Job {
    /// Starts to record a request to `endpoint`.
    pub fn new(
        services: Services,
        (id, tenant): (RequestId, Tenant),
        endpoint: &'static str,
        request: InferenceRequest,
    ) -> Self {
        let observed = Observed::new(services.audit.clone(), &id.0, endpoint, &request);
        Self { services, id, request, observed, tenant }
    }

    /// One request to the dispatcher for each prompt.
    fn into_requests(self) -> (Services, Observed, Vec<GenerateRequest>) {
        let Self { services, id, request, observed, tenant } = self;
        let cache_scope = tenant.scope(&request.cache_salt);
        let InferenceRequest { model, generation, more_prompts, choices, keep_alive, affinity, .. } = request;
        let recoveries = observed.recoveries();
        let one = |generation: Generation| GenerateRequest {
            model: model.clone(),
            request_id: id.0.clone(),
            cache_scope: cache_scope.clone(),
            generation,
            choices,
            keep_alive,
            affinity: affinity.clone(),
            recoveries: Arc::clone(&recoveries),
        };
        let more = more_prompts.into_iter().map(|prompt| Generation { prompt, ..generation.clone() });
        let more: Vec<Generation> = more.collect();
        let requests = std::iter::once(generation).chain(more).map(one).collect();
        (services, observed, requests)
    }
}

/// What is done when the end of a stream is known, before it is told: it is kept, or cannot be.
pub type Ending<W> = Box<dyn FnOnce(&W) -> BoxFuture<'static, bool> + Send>;

/// What comes of a request, and what its worker had room for when it took it, where that is known.
pub type Told<T> = (T, Option<Capacity>);

/// Waits for the whole answer, of each choice. Calls `came` with each event.
///
/// # Errors
/// When one cannot begin, or fails; the others are cancelled.
pub async fn whole(job: Job, mut came: impl FnMut(&Event)) -> Result<Told<Vec<Whole>>> {
    let (services, mut observed, requests) = job.into_requests();
    let mut choices = observed.begin(services.dispatcher.generate(requests).await)?;
    let mut outputs: Vec<Output> = (0..choices.count()).map(|_| Output::default()).collect();
    let mut ends = vec![None; outputs.len()];
    loop {
        let (choice, event) = choices.next().await;
        came(&event);
        observed.see(&event, choices.is_over());
        match event {
            Event::Prompt { tokens } => outputs[choice].prompt = tokens,
            Event::Delta(delta) => outputs[choice].add(delta),
            Event::Failed(error) => return Err(error),
            Event::Finished { reason, usage } => ends[choice] = Some((reason, usage)),
        }
        if choices.is_over() {
            let whole = |(output, end): (Output, Option<_>)| {
                end.map(|(reason, usage)| Whole { output, reason, usage })
            };
            return Ok((outputs.into_iter().zip(ends).filter_map(whole).collect(), choices.capacity()));
        }
    }
}

/// The events, and the first of them where it was waited for.
type Begun = Result<(Choices, Option<(usize, Event)>)>;

/// Answers with a stream, of all choices.
///
/// # Errors
/// Everything that goes wrong soon enough to have an HTTP status.
pub async fn stream<W: Wire>(job: Job, wire: W, ending: Option<Ending<W>>) -> Result<Response> {
    let model = job.request.model.clone();
    let (Services { dispatcher, fleet, .. }, mut observed, requests) = job.into_requests();
    let mut beginning = Box::pin(async move {
        let mut choices = dispatcher.generate(requests).await?;
        if W::EAGER {
            return Ok((choices, None));
        }
        match choices.next().await {
            (_, Event::Failed(error)) => Err(error),
            first => Ok((choices, Some(first))),
        }
    });
    let begun = match tokio::time::timeout(STATUS_PATIENCE, &mut beginning).await {
        Ok(begun) => Some(observed.begin(begun)?),
        Err(_) => None,
    };
    // Nobody knows it where the status goes out before a worker has taken the request.
    let capacity = begun.as_ref().and_then(|(choices, _)| choices.capacity());
    let (sender, receiver) = mpsc::channel(WRITES_AHEAD);
    let mut writer = Writer { wire, ending, observed, sender };
    tokio::spawn(async move {
        match begun {
            Some((choices, first)) => writer.write(choices, first).await,
            None => writer.wait(beginning, || progress(&fleet, &model)).await,
        }
    });
    Ok(server_sent(Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>)), capacity))
}

/// How far a model is loaded, as a comment; nothing where it is not being loaded.
async fn progress(fleet: &FleetClient, model: &str) -> Vec<u8> {
    let asked = tokio::time::timeout(PROGRESS_PATIENCE, fleet.loading_percent(model)).await;
    match asked {
        Ok(Some(percent)) => format!(": loading {percent} %\n\n").into_bytes(),
        _ => Vec::new(),
    }
}

/// A failure told inside a stream that holds nothing else.
pub fn failed<W: Wire>(mut wire: W, failure: &Error) -> Response {
    let mut buffer = Vec::new();
    wire.fail(&mut buffer, failure);
    server_sent(Body::from(buffer), failure.capacity)
}

/// Answers with what a stream has told from event `from` on, and tells.
pub fn replayed(replay: &ReplayBuffer, from: usize) -> Response {
    let pieces = Box::pin(replay.read(from));
    let alive = futures::stream::unfold(pieces, |mut pieces| async move {
        let piece = tokio::time::timeout(KEEP_ALIVE_EVERY, pieces.next()).await;
        Some((piece.unwrap_or(Some(Bytes::from_static(sse::KEEP_ALIVE)))?, pieces))
    });
    server_sent(Body::from_stream(alive.map(Ok::<_, Infallible>)), None)
}

fn server_sent(body: Body, capacity: Option<Capacity>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // nginx would hold the tokens back otherwise.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (capacity.map(Extension), headers, body).into_response()
}

/// Writes one stream. When the client leaves, the channel closes, the task ends, and dropping the events cancels.
struct Writer<W> {
    wire: W,
    ending: Option<Ending<W>>,
    observed: Observed,
    sender: mpsc::Sender<Bytes>,
}

impl<W: Wire> Writer<W> {
    /// Keeps the connection alive until the generation has begun, and says in comments, which every client skips, how far
    /// the model is loaded.
    async fn wait<P: Future<Output = Vec<u8>>>(
        &mut self,
        mut beginning: impl Future<Output = Begun> + Unpin,
        progress: impl Fn() -> P,
    ) {
        loop {
            let comment = progress().await;
            if !self.send(comment).await || !self.keep_alive().await {
                return;
            }
            tokio::select! {
                begun = &mut beginning => match self.observed.begin(begun) {
                    Ok((choices, first)) => return self.write(choices, first).await,
                    Err(error) => {
                        let mut buffer = Vec::new();
                        self.wire.fail(&mut buffer, &error);
                        self.end().await;
                        self.send(buffer).await;
                        return;
                    }
                },
                () = tokio::time::sleep(KEEP_ALIVE_EVERY) => {}
                () = self.sender.closed() => return,
            }
        }
    }

    async fn write(&mut self, mut choices: Choices, first: Option<(usize, Event)>) {
        let mut buffer = Vec::with_capacity(256);
        self.wire.open(&mut buffer, choices.prompt_tokens());
        let mut next = first;
        if !buffer.is_empty() && next.is_none() && !self.send(std::mem::take(&mut buffer)).await {
            return;
        }
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => tokio::select! {
                    event = choices.next() => event,
                    () = self.sender.closed() => return,
                    () = tokio::time::sleep(KEEP_ALIVE_EVERY) => {
                        if !self.keep_alive().await {
                            return;
                        }
                        continue;
                    }
                },
            };
            let mut ended = self.push(&mut buffer, &event, choices.is_over());
            // What has come meanwhile goes out in the same write.
            while !ended && let Some(event) = choices.try_next() {
                ended = self.push(&mut buffer, &event, choices.is_over());
            }
            if ended {
                let kept = self.end().await;
                self.wire.end(&mut buffer, kept);
            }
            if !self.send(std::mem::replace(&mut buffer, Vec::with_capacity(256))).await || ended {
                return;
            }
        }
    }

    fn push(&mut self, buffer: &mut Vec<u8>, (choice, event): &(usize, Event), last: bool) -> bool {
        self.observed.see(event, last);
        self.wire.push(buffer, *choice, event)
    }

    async fn end(&mut self) -> bool {
        match self.ending.take() {
            Some(ending) => ending(&self.wire).await,
            None => true,
        }
    }

    async fn keep_alive(&mut self) -> bool {
        let mut buffer = Vec::new();
        self.wire.keep_alive(&mut buffer);
        self.send(buffer).await
    }

    /// False where nobody reads any more.
    async fn send(&mut self, buffer: Vec<u8>) -> bool {
        // A stream that has nothing to write yet is still read.
        buffer.is_empty() || self.sender.send(Bytes::from(buffer)).await.is_ok()
    }
}
