//! Responses over a WebSocket (`GET /v1/responses` with an upgrade).
//!
//! A client frame is `{"type": "response.create", …}` with the fields of `POST /v1/responses`. Each frame from here is one event
//! of a streamed response, or an error. A connection makes one response at a time; further requests wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::access::Tenant;
use crate::access::budget::Moment;
use crate::dispatch::Services;
use crate::inference::content::Content;
use crate::inference::request_id::RequestId;
use crate::protocols::common::body::{self, Body, MAX_IMAGE_BODY_BYTES};
use crate::protocols::common::rate_limits::estimate;
use crate::protocols::common::{field_names, labels, model_choice};
use crate::protocols::error::{status, unroutable};
use crate::protocols::openai::error;
use crate::protocols::openai::responses::create::{Context, Creation, load_history, resolve_references};
use crate::protocols::openai::responses::store::ResponseStore;
use crate::protocols::openai::responses::wire::{self as api, Item};

/// Requests that may wait for the one that runs.
const MAX_WAITING: usize = 16;
/// Silence after which the server sends a ping, to find connections whose client has vanished.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// All connections. A server that stops lets their responses end.
#[derive(Debug, Default)]
pub struct Sockets {
    closing: CancellationToken,
    sessions: TaskTracker,
}

impl Sockets {
    /// Takes no further request on any connection.
    pub fn close(&self) {
        self.closing.cancel();
        self.sessions.close();
    }

    /// Waits until all connections have ended, after [`Self::close`].
    pub async fn wait_closed(&self) {
        self.sessions.wait().await;
    }
}

/// `GET /v1/responses`, which must ask for an upgrade.
pub async fn connect(
    State(services): State<Services>,
    State(responses): State<Arc<ResponseStore>>,
    State(sockets): State<Arc<Sockets>>,
    (Extension(id), Extension(tenant)): (Extension<RequestId>, Extension<Tenant>),
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let upgrade = match upgrade {
        Ok(upgrade) => upgrade.max_message_size(MAX_IMAGE_BODY_BYTES).max_frame_size(MAX_IMAGE_BODY_BYTES),
        Err(problem) => {
            let text = format!("/v1/responses takes POST, or GET with a WebSocket upgrade: {problem}");
            return unroutable(StatusCode::METHOD_NOT_ALLOWED, text);
        }
    };
    let labels = labels::from_headers(&headers);
    let context = Context { services, responses, id, tenant, labels };
    upgrade.on_upgrade(move |socket| {
        let session = Session { context, closing: sockets.closing.clone(), latest: None, requests: 0 };
        sockets.sessions.track_future(session.run(socket).in_current_span())
    })
}

type Sender = SplitSink<WebSocket, Message>;

/// One connection.
struct Session {
    context: Context,
    closing: CancellationToken,
    latest: Option<Latest>,
    /// The number of requests so far.
    requests: u32,
}

/// The latest response of a connection. It can be continued though it is not stored.
struct Latest {
    id: String,
    /// The whole conversation, its output included.
    items: Vec<Item>,
    stored: bool,
}

/// The fields of a client frame that a request over HTTP does not have.
#[derive(Deserialize)]
struct Envelope {
    r#type: String,
    /// Returned in every frame about the request.
    stream_id: Option<String>,
}

impl Body for Envelope {}

/// A message from the client.
enum Incoming {
    Request(Bytes),
    /// A frame larger than [`MAX_IMAGE_BODY_BYTES`].
    TooLarge,
    /// It has left.
    End,
}

impl Session {
    async fn run(mut self, socket: WebSocket) {
        let (mut sender, mut receiver) = socket.split();
        let mut waiting = VecDeque::new();
        loop {
            let next = match waiting.pop_front() {
                Some(request) => Incoming::Request(request),
                None => tokio::select! {
                    biased;
                    () = self.closing.cancelled() => {
                        close(&mut sender, close_code::RESTART, "the server stops or is replaced").await;
                        return;
                    }
                    next = receive(&mut receiver) => next,
                    () = tokio::time::sleep(PING_INTERVAL) => {
                        if sender.send(Message::Ping(Bytes::new())).await.is_err() {
                            return;
                        }
                        continue;
                    }
                },
            };
            let Incoming::Request(request) = next else { return refuse_end(&mut sender, next).await };
            let end = {
                let mut answer = std::pin::pin!(self.answer(&mut sender, request));
                // Breaking drops the answer, which cancels its generation.
                loop {
                    tokio::select! {
                        is_open = &mut answer => break (!is_open).then_some(Incoming::End),
                        next = receive(&mut receiver) => match next {
                            Incoming::Request(next) if waiting.len() < MAX_WAITING => waiting.push_back(next),
                            next => break Some(next),
                        },
                    }
                }
            };
            if let Some(end) = end {
                return refuse_end(&mut sender, end).await;
            }
        }
    }

    /// Answers one request. Returns false if the client has left.
    async fn answer(&mut self, sender: &mut Sender, request: Bytes) -> bool {
        let envelope = match body::parse::<Envelope>(&request) {
            Ok(envelope) => envelope,
            Err(error) => return send_error(sender, &error, None).await,
        };
        let stream = envelope.stream_id.as_deref();
        self.requests += 1;
        match self.begin(&envelope.r#type, &request).await {
            Ok((history, creation)) => {
                let input = creation.input().to_vec();
                match creation.respond().await {
                    Ok(response) => self.forward(sender, response, stream, [history, input].concat()).await,
                    Err(error) => send_error(sender, &error, stream).await,
                }
            }
            Err(error) => send_error(sender, &error, stream).await,
        }
    }

    /// Returns the conversation before the request, and the response that is about to be made.
    async fn begin(&mut self, kind: &str, body: &[u8]) -> Result<(Vec<Item>, Creation)> {
        if kind != "response.create" {
            return Err(Error::invalid(
                "type",
                format!("type: \"{kind}\" is not supported, only \"response.create\""),
            ));
        }
        let tenant = self.context.tenant.admit(estimate(body.len() as u64), Moment::now());
        let tenant = tenant.map_err(|refusal| refusal.error)?;
        let mut request: api::Request = body::parse(body)?;
        model_choice::fill(&self.context.services.catalogue, &mut request).await?;
        if request.background == Some(true) {
            let text = "background: a response over a WebSocket is not made in the background; POST it";
            return Err(Error::invalid("background", text));
        }
        request.stream = Some(true);
        let of_socket = self.context.id.clone();
        let content = of_socket.content.as_ref().map(|_| Arc::new(Content::of_request(body)));
        let id = RequestId { name: format!("{}-{}", of_socket.name, self.requests), content, ..of_socket };
        let context = Context { id, tenant, ..self.context.clone() };
        // A continuation that fails forgets it, as in OpenAI's API. A stored one is still in the database.
        let latest = self.latest.take_if(|latest| request.previous_response_id.as_ref() == Some(&latest.id));
        let is_unstored = latest.as_ref().is_some_and(|latest| !latest.stored);
        let history = match latest {
            Some(Latest { items, .. }) => {
                resolve_references(&context.responses, &context.tenant, &mut request, &items).await?;
                items
            }
            None => load_history(&context.responses, &context.tenant, &mut request).await?,
        };
        let mut creation = Creation::new(&context, request, &history)?.within(body.len())?;
        if is_unstored {
            creation.detach(&history);
        }
        Ok((history, creation))
    }

    /// Sends the events of a response, each as one frame. Returns false if the client has left.
    async fn forward(
        &mut self,
        sender: &mut Sender,
        response: Response,
        stream: Option<&str>,
        conversation: Vec<Item>,
    ) -> bool {
        let mut pieces = response.into_body().into_data_stream();
        let mut events = EventReader::default();
        let mut last = None;
        while let Some(Ok(piece)) = pieces.next().await {
            events.push(&piece);
            while let Some(event) = events.next() {
                if sender.send(Message::Text(tagged(&event, stream).into())).await.is_err() {
                    return false;
                }
                last = Some(event);
            }
        }
        if let Some(latest) = last.and_then(|event| Latest::read(&event, conversation)) {
            self.latest = Some(latest);
        }
        true
    }
}

impl Latest {
    /// Reads the last event of a response to `conversation`. Returns `None` for a failed one.
    fn read(event: &str, mut conversation: Vec<Item>) -> Option<Self> {
        let event: Value = serde_json::from_str(event).ok()?;
        let response = &event["response"];
        if event["type"] != "response.completed" && event["type"] != "response.incomplete" {
            return None;
        }
        conversation.extend(serde_json::from_value::<Vec<Item>>(response["output"].clone()).ok()?);
        let stored = response["store"] == true;
        Some(Self { id: response["id"].as_str()?.to_owned(), items: conversation, stored })
    }
}

/// Splits server-sent events, and drops comments.
#[derive(Default)]
struct EventReader(Vec<u8>);

impl EventReader {
    fn push(&mut self, piece: &[u8]) {
        self.0.extend_from_slice(piece);
    }

    /// The data of the next complete event.
    fn next(&mut self) -> Option<String> {
        loop {
            let end = self.0.windows(2).position(|pair| pair == b"\n\n")?;
            let event: Vec<u8> = self.0.drain(..end + 2).collect();
            let data = event.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data: "));
            if let Some(data) = data {
                return Some(String::from_utf8_lossy(data).into_owned());
            }
        }
    }
}

/// Adds the client's `stream_id` to an event, which is a JSON object.
fn tagged(event: &str, stream: Option<&str>) -> String {
    match (stream, event.strip_prefix('{')) {
        (Some(stream), Some(rest)) => format!("{{\"stream_id\":{},{rest}", json!(stream)),
        _ => event.to_owned(),
    }
}

async fn receive(receiver: &mut SplitStream<WebSocket>) -> Incoming {
    loop {
        match receiver.next().await {
            Some(Ok(Message::Text(text))) => return Incoming::Request(text.into()),
            Some(Ok(Message::Binary(bytes))) => return Incoming::Request(bytes),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Err(problem)) if problem.to_string().contains("too long") => return Incoming::TooLarge,
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Incoming::End,
        }
    }
}

/// Ends a connection that cannot go on.
async fn refuse_end(sender: &mut Sender, last: Incoming) {
    let (kind, code, text) = match last {
        Incoming::End => return,
        Incoming::TooLarge => {
            let text = format!("a frame has at most {} MiB", MAX_IMAGE_BODY_BYTES >> 20);
            (ErrorKind::TooLarge, close_code::SIZE, text)
        }
        Incoming::Request(_) => {
            let text = format!("at most {MAX_WAITING} requests may wait on one connection");
            (ErrorKind::RateLimited, close_code::POLICY, text)
        }
    };
    send_error(sender, &Error::new(kind, Origin::Client, &*text), None).await;
    close(sender, code, &text).await;
}

async fn close(sender: &mut Sender, code: u16, reason: &str) {
    let frame = CloseFrame { code, reason: reason.into() };
    // The client may have left.
    let _ = sender.send(Message::Close(Some(frame))).await;
}

/// Sends an error as a frame. Returns false if the client has left.
async fn send_error(sender: &mut Sender, error: &Error, stream: Option<&str>) -> bool {
    sender.send(Message::Text(error_frame(error, stream).to_string().into())).await.is_ok()
}

fn error_frame(error: &Error, stream: Option<&str>) -> Value {
    // Strings and options always serialise.
    let body = serde_json::to_value(error::Body::new(error, field_names::responses)).unwrap_or_default();
    let mut frame = json!({"type": "error", "status": status(error.kind).as_u16(), "error": body["error"]});
    if let Some(stream) = stream {
        frame["stream_id"] = stream.into();
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_split_at_any_piece_and_comments_dropped() {
        let text = b": loading 3 %\n\nevent: a\ndata: {\"x\":1}\n\ndata: {}\n\n";
        for size in 1..text.len() {
            let (mut reader, mut found) = (EventReader::default(), Vec::new());
            for piece in text.chunks(size) {
                reader.push(piece);
                found.extend(std::iter::from_fn(|| reader.next()));
            }
            assert_eq!(found, ["{\"x\":1}", "{}"], "{size}");
        }
    }

    #[test]
    fn frame_has_the_clients_stream_id() {
        assert_eq!(tagged("{\"a\":1}", Some("s")), "{\"stream_id\":\"s\",\"a\":1}");
        assert_eq!(tagged("{\"a\":1}", None), "{\"a\":1}");
    }

    #[test]
    fn error_frame_has_the_status_of_http() {
        let frame = error_frame(&Error::invalid("input", "input is missing"), Some("s"));
        let expected = json!({"type": "error", "status": 400, "stream_id": "s", "error": {
            "message": "input is missing", "type": "invalid_request_error", "param": "input", "code": null}});
        assert_eq!(frame, expected);
    }

    #[test]
    fn failed_response_cannot_be_continued() {
        let event = |kind: &str| {
            json!({"type": kind, "response": {"id": "resp_1", "store": false, "output": []}}).to_string()
        };
        assert!(Latest::read(&event("response.failed"), Vec::new()).is_none());
        let latest = Latest::read(&event("response.completed"), vec![Item::default()]).unwrap();
        assert_eq!((&*latest.id, latest.items.len(), latest.stored), ("resp_1", 1, false));
    }
}
