//! The two connections to one worker process: control calls, and step frames that are dealt out to their requests.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::SinkExt;
use futures::stream::{FusedStream, StreamExt};
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

/// Limit of calls that any live worker answers sooner, however busy it is.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Limit of connecting, likewise.
const OPEN_DEADLINE: Duration = Duration::from_secs(20);
/// The supervisor ends a worker that hangs sooner, and the connection with it.
const SUBMIT_DEADLINE: Duration = Duration::from_secs(600);
/// Events that may wait for a slow client.
const EVENTS_AHEAD: usize = 4096;
/// How long all who wait at a worker are held up by one whose queue is full. Whoever reads at all makes room much sooner: a
/// worker that is fast, or was waited for, has more events in one frame than a queue holds.
const PATIENCE: Duration = Duration::from_millis(500);

/// Who waits for events; `None` once the connection has ended.
type Requests = Option<HashMap<ChoiceId, mpsc::Sender<Event>>>;

/// A connected worker.
pub(super) struct Link {
    model: String,
    incarnation: u64,
    client: WorkerClient,
    stream: StreamId,
    requests: Mutex<Requests>,
    next_id: AtomicU64,
    /// It is to take no more requests.
    retired: AtomicBool,
    closing: Notify,
}

impl Link {
    /// Connects to the worker at `address`. One that hangs is not waited for.
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
        tokio::spawn(Arc::clone(&link).deal(frames));
        Ok(link)
    }

    /// Which worker process it leads to.
    pub(super) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Whether the worker is there and takes requests, as far as is known.
    pub(super) fn takes_more(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && self.requests().is_some()
    }

    /// Requests on their way through it.
    pub(super) fn load(&self) -> usize {
        self.requests().as_ref().map_or(0, HashMap::len)
    }

    /// Takes no more requests; it is let go of once those it has are done.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
        self.close_if_done();
    }

    fn close_if_done(&self) {
        if self.retired.load(Ordering::Relaxed) && self.load() == 0 {
            self.close();
        }
    }

    /// For calls that no event follows.
    pub(super) fn client(&self) -> &WorkerClient {
        &self.client
    }

    /// Lets go of the connection.
    pub(super) fn close(&self) {
        self.closing.notify_one();
        self.end();
    }

    /// Submits a request to the worker: one stream for each of its choices, whose ids this assigns.
    pub(super) async fn submit(self: Arc<Self>, mut submission: Submission) -> Result<Vec<EventStream>> {
        // Before the call: the first frame may overtake its answer. A client that leaves during the call cancels too.
        let mut streams = Vec::with_capacity(submission.choices.len());
        for choice in &mut submission.choices {
            choice.id = ChoiceId(self.next_id.fetch_add(1, Ordering::Relaxed));
            streams.push(self.register(choice.id).ok_or_else(|| self.gone())?);
        }
        let accepted = answer(self.client.submit(deadline(SUBMIT_DEADLINE), self.stream, submission)).await?;
        for stream in &mut streams {
            (stream.prompt_tokens, stream.capacity) = (accepted.prompt_tokens, Some(accepted.capacity));
        }
        Ok(streams)
    }

    /// The events of choice `id`; `None` once the connection has ended.
    fn register(self: &Arc<Self>, id: ChoiceId) -> Option<EventStream> {
        let (sender, events) = mpsc::channel(EVENTS_AHEAD);
        self.requests().as_mut()?.insert(id, sender);
        let link = Arc::clone(self);
        Some(EventStream::new(events, move || link.cancel(id)))
    }

    /// Forgets a request and tells the worker, if there still is one.
    fn cancel(self: Arc<Self>, id: ChoiceId) {
        let known = self.requests().as_mut().is_some_and(|requests| requests.remove(&id).is_some());
        if known {
            tokio::spawn(async move {
                // A worker that is gone has nothing to cancel.
                let _ = self.client.cancel(deadline(CALL_DEADLINE), self.stream, id).await;
                self.close_if_done();
            });
        }
    }

    /// Deals frames out until the connection ends.
    async fn deal(self: Arc<Self>, frames: GatewayEnd) {
        let mut frames = frames.fuse();
        while !frames.is_terminated() {
            tokio::select! {
                () = self.closing.notified() => break,
                frame = frames.next() => match frame {
                    Some(Ok(StreamFrame::Step(frame))) => self.deal_frame(frame).await,
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

    async fn deal_frame(self: &Arc<Self>, frame: StepFrame) {
        for (id, event) in frame.events {
            // It is about to end, and takes nothing any more.
            if matches!(&event, Event::Failed(error) if error.disposition == Disposition::RetryElsewhere) {
                self.retired.store(true, Ordering::Relaxed);
            }
            let last = event.is_last();
            if let Some((sender, event)) = self.offer(id, event)
                && tokio::time::timeout(PATIENCE, sender.send(event)).await.is_err()
            {
                Arc::clone(self).cancel(id);
            } else if last && let Some(requests) = &mut *self.requests() {
                requests.remove(&id);
            }
        }
        self.close_if_done();
    }

    /// Queues an event. Returns it with its queue where that is full.
    fn offer(&self, id: ChoiceId, event: Event) -> Option<(mpsc::Sender<Event>, Event)> {
        let requests = self.requests();
        let sender = requests.as_ref()?.get(&id)?;
        match sender.try_send(event) {
            Err(mpsc::error::TrySendError::Full(event)) => Some((sender.clone(), event)),
            // One that nobody reads is cancelled by its reader.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => None,
        }
    }

    /// Fails every request that waits; no new one is taken.
    fn end(&self) {
        let waiting = self.requests().take().into_iter().flatten();
        for (_, sender) in waiting {
            // A full queue ends with its sender, which says the same less well.
            let _ = sender.try_send(Event::Failed(self.gone()));
        }
    }

    fn gone(&self) -> Error {
        let text = format!("the worker for \"{}\" stopped while the request was running", self.model);
        Error::new(ErrorKind::Unavailable, Origin::Worker, text)
    }

    fn requests(&self) -> std::sync::MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The worker's answer to a call.
pub(super) async fn answer<T>(call: impl Future<Output = Result<Result<T>, RpcError>>) -> Result<T> {
    let lost = |error: RpcError| {
        let late = matches!(error, RpcError::DeadlineExceeded);
        let kind = if late { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        Error::new(kind, Origin::Gateway, format!("the worker does not answer: {error}"))
    };
    call.await.map_err(lost).flatten()
}
