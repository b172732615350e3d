//! The two connections to one worker process: one for control calls, one for step frames. The link distributes the events of a
//! frame to their requests.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FusedStream, StreamExt};
use futures::{FutureExt, SinkExt};
use ipc_proto::generate::{ChoiceId, Event, Submission};
use ipc_proto::socket::{self, Channel};
use ipc_proto::stream::{GatewayEnd, StepFrame, StreamFrame, StreamHello, StreamId};
use ipc_proto::supervisor::WorkerAddress;
use ipc_proto::worker::WorkerClient;
use ipc_proto::{Disposition, Error, ErrorKind, Origin, Result};
use tarpc::client::{Config, RpcError};
use tokio::sync::{Notify, mpsc};

use crate::backends::EventStream;
use crate::fleet::client::deadline;

/// Limit of short calls. Every healthy worker answers sooner, even under load.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Limit of connecting. Every healthy worker accepts sooner.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);
/// The supervisor ends a hanging worker sooner, which ends the connection.
const SUBMIT_DEADLINE: Duration = Duration::from_secs(600);
/// Events that may wait for a slow client.
const QUEUE_EVENTS: usize = 4096;
/// How long one full queue may delay all requests at a worker. A client that reads at all makes room much sooner. Queues fill up
/// because one frame can hold more events than a queue: from a fast worker, or after a wait.
const FULL_QUEUE_TIMEOUT: Duration = Duration::from_millis(500);

/// The event queues of running choices; `None` once the connection has ended.
type Requests = Option<HashMap<ChoiceId, mpsc::Sender<Event>>>;

/// A connected worker.
pub(super) struct Link {
    model: String,
    incarnation: u64,
    client: WorkerClient,
    stream: StreamId,
    requests: Mutex<Requests>,
    next_id: AtomicU64,
    /// The link takes no more requests.
    retired: AtomicBool,
    closing: Notify,
}

impl Link {
    /// Connects to the worker at `address`, within [`OPEN_DEADLINE`].
    pub(super) async fn open(address: &WorkerAddress, model: &str) -> io::Result<Arc<Self>> {
        tokio::time::timeout(OPEN_DEADLINE, Self::connect(address, model)).await?
    }

    async fn connect(address: &WorkerAddress, model: &str) -> io::Result<Arc<Self>> {
        let control = socket::connect(&address.socket, Channel::Control).await?;
        let mut frames: GatewayEnd = socket::framed(socket::connect(&address.socket, Channel::Steps).await?);
        let (stream, _) = uuid::Uuid::new_v4().as_u64_pair();
        let stream = StreamId(stream);
        frames.send(StreamHello { stream }).await?;
        match frames.next().await {
            Some(Ok(StreamFrame::Welcome)) => {}
            Some(Err(e)) => return Err(e),
            Some(Ok(_)) | None => return Err(io::ErrorKind::ConnectionAborted.into()),
        }
        let link = Arc::new(Self {
            model: model.to_owned(),
            incarnation: address.incarnation,
            client: WorkerClient::new(Config::default(), socket::framed(control)).spawn(),
            stream,
            requests: Mutex::new(Some(HashMap::new())),
            next_id: AtomicU64::new(0),
            retired: AtomicBool::new(false),
            closing: Notify::new(),
        });
        tokio::spawn(Arc::clone(&link).distribute(frames));
        Ok(link)
    }

    /// The number of the worker process.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether the link is connected and takes requests.
    pub(super) fn is_available(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && self.requests().is_some()
    }

    /// The number of running choices.
    pub(super) fn load(&self) -> usize {
        self.requests().as_ref().map_or(0, HashMap::len)
    }

    /// Takes no more requests. Closes the connection after the running ones.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.close_if_done();
    }

    fn close_if_done(&self) {
        if self.retired.load(Ordering::Relaxed) && self.load() == 0 {
            self.close();
        }
    }

    /// The client for control calls.
    pub(super) fn client(&self) -> &WorkerClient {
        &self.client
    }

    /// Closes the connection.
    pub(super) fn close(&self) {
        self.closing.notify_one();
        self.end();
    }

    /// Submits a request to the worker. Assigns the ids of its choices and returns one stream for each.
    pub(super) async fn submit(self: Arc<Self>, mut submission: Box<Submission>) -> Result<Vec<EventStream>> {
        // Before the call: the first frame may arrive before the answer. Also, a client that leaves during the call cancels.
        let mut streams = Vec::with_capacity(submission.choices.len());
        for choice in &mut submission.choices {
            choice.id = ChoiceId(self.next_id.fetch_add(1, Ordering::Relaxed));
            streams.push(self.register(choice.id).ok_or_else(|| self.lost_error())?);
        }
        let accepted = answer(self.client.submit(deadline(SUBMIT_DEADLINE), self.stream, submission).await)?;
        for stream in &mut streams {
            (stream.prompt_tokens, stream.capacity) = (accepted.prompt_tokens, Some(accepted.capacity));
        }
        Ok(streams)
    }

    /// Opens the event queue of choice `id`. `None` once the connection has ended.
    fn register(self: &Arc<Self>, id: ChoiceId) -> Option<EventStream> {
        let (sender, events) = mpsc::channel(QUEUE_EVENTS);
        self.requests().as_mut()?.insert(id, sender);
        let link = Arc::clone(self);
        Some(EventStream::new(events, move || link.cancel(id)))
    }

    /// Removes a choice, and cancels it at the worker if the connection is still there. The future ends with the worker's answer.
    fn cancel(self: Arc<Self>, id: ChoiceId) -> BoxFuture<'static, ()> {
        let known = self.requests().as_mut().is_some_and(|requests| requests.remove(&id).is_some());
        if !known {
            return std::future::ready(()).boxed();
        }
        let cancelling = tokio::spawn(async move {
            // A lost worker has nothing to cancel.
            let _ = self.client.cancel(deadline(CALL_DEADLINE), self.stream, id).await;
            self.close_if_done();
        });
        cancelling.map(drop).boxed()
    }

    /// Distributes frames until the connection ends.
    async fn distribute(self: Arc<Self>, frames: GatewayEnd) {
        let mut frames = frames.fuse();
        while !frames.is_terminated() {
            tokio::select! {
                () = self.closing.notified() => break,
                frame = frames.next() => match frame {
                    Some(Ok(StreamFrame::Step(frame))) => self.distribute_frame(frame).await,
                    Some(Ok(StreamFrame::Welcome)) => {}
                    Some(Err(error)) => {
                        tracing::warn!(model = self.model, %error, "the step frames ended");
                        break;
                    }
                    None => break,
                },
            }
        }
        self.end();
    }

    async fn distribute_frame(self: &Arc<Self>, frame: StepFrame) {
        for (id, event) in frame.events {
            // The worker is about to end and takes no more requests.
            if matches!(&event, Event::Failed(error) if error.disposition == Disposition::RetryElsewhere) {
                self.retired.store(true, Ordering::Relaxed);
            }
            let last = event.is_last();
            if let Some((sender, event)) = self.try_queue(id, event)
                && tokio::time::timeout(FULL_QUEUE_TIMEOUT, sender.send(event)).await.is_err()
            {
                drop(Arc::clone(self).cancel(id));
            } else if last && let Some(requests) = &mut *self.requests() {
                requests.remove(&id);
            }
        }
        self.close_if_done();
    }

    /// Queues an event. Returns the event and its queue if the queue is full.
    fn try_queue(&self, id: ChoiceId, event: Event) -> Option<(mpsc::Sender<Event>, Event)> {
        let requests = self.requests();
        let sender = requests.as_ref()?.get(&id)?;
        match sender.try_send(event) {
            Err(mpsc::error::TrySendError::Full(event)) => Some((sender.clone(), event)),
            // The receiver cancels a closed queue when it is dropped.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => None,
        }
    }

    /// Fails all running choices and takes no new ones.
    fn end(&self) {
        let running = self.requests().take().into_iter().flatten();
        for (_, sender) in running {
            // A full queue ends when its sender is dropped, with a less precise error.
            let _ = sender.try_send(Event::Failed(self.lost_error()));
        }
    }

    fn lost_error(&self) -> Error {
        let text = format!("the worker for \"{}\" stopped while the request was running", self.model);
        Error::new(ErrorKind::Unavailable, Origin::Worker, text)
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Flattens the transport error and the worker's answer to a call. Takes no future: an async function would store it twice, and
/// one of tarpc's takes 6 KiB.
pub(super) fn answer<T>(call: Result<Result<T>, RpcError>) -> Result<T> {
    let to_error = |error: RpcError| {
        let is_timeout = matches!(error, RpcError::DeadlineExceeded);
        let kind = if is_timeout { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        Error::new(kind, Origin::Gateway, format!("the worker does not answer: {error}"))
    };
    call.map_err(to_error).flatten()
}
