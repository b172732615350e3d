//! Streams the events of a request to its client.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::future::BoxFuture;
use ipc_proto::generate::Event;
use ipc_proto::{Error, Origin, Result};
use tracing::Instrument;

use super::silence::{KEEP_ALIVE_INTERVAL, Silence};
use super::written::{self, Pieces};
use super::{Job, Served, stream_response};
use crate::audit::record::RequestRecorder;
use crate::backends::Verbatim;
use crate::dispatch::Services;
use crate::dispatch::choices::Choices;
use crate::dispatch::writer::ResponseWriter;
use crate::fleet::FleetClient;
use crate::inference::course::Course;

/// How long a stream waits for its first event before it answers 200. A failure within this time has its own status.
const STATUS_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of asking the supervisor for a model's loading progress.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes allocated for each piece, at least.
const BUFFER_BYTES: usize = 512;
/// A piece of this length takes no more events. Larger ones cost more, as the allocator asks the system for their pages.
const PIECE_BYTES: usize = 16 << 10;

/// Runs when the end of a stream is known and not yet written. Returns whether the response was stored.
pub type EndHook<W> = Box<dyn FnOnce(&W) -> BoxFuture<'static, bool> + Send>;

/// A generation that has begun.
struct Begun {
    choices: Choices,
    /// The first event, if the start waited for it.
    first: Option<(usize, Event)>,
    /// The answer in the client's own protocol, and its first piece.
    verbatim: Option<(Box<Verbatim>, Bytes)>,
}

/// Answers with a stream of the events of all choices.
///
/// # Errors
/// Every failure within ten seconds: the response still has its own HTTP status.
pub async fn stream<W: ResponseWriter>(
    job: Job,
    writer: W,
    end_hook: Option<EndHook<W>>,
) -> Result<Response> {
    let model = job.request.model.clone();
    let (Services { dispatcher, fleet, .. }, mut recorder, requests) = job.into_requests();
    let mut start = Box::pin(async move {
        let choices = dispatcher.generate(requests.await?).await?;
        begin(choices, W::EAGER).await
    });
    let started = match tokio::time::timeout(STATUS_TIMEOUT, &mut start).await {
        Ok(started) => Some(recorder.record_start(started)?),
        Err(_) => None,
    };
    // Unknown if the status goes out before a server has taken the request.
    let served = started.as_ref().map_or_else(Served::default, |begun| Served {
        headers: begun.verbatim.as_ref().map(|(verbatim, _)| Box::new(verbatim.headers.clone())),
        ..Served::of(&begun.choices, &recorder)
    });
    let write = |pieces| {
        let mut answer = StreamedAnswer { writer, end_hook, recorder, pieces };
        let writing = async move {
            match started {
                Some(begun) => answer.write(begun).await,
                None => answer.wait_for_start(start, || loading_percent(&fleet, &model)).await,
            }
        };
        writing.in_current_span()
    };
    Ok(stream_response(W::MEDIA_TYPE, written::body(write), served))
}

/// Waits for the first event, unless the stream is `eager`. An answer in the client's own protocol always begins with its first
/// piece.
async fn begin(mut choices: Choices, eager: bool) -> Result<Begun> {
    if let Some(mut verbatim) = choices.take_verbatim() {
        let first = verbatim.next().await.transpose()?.unwrap_or_default();
        return Ok(Begun { choices, first: None, verbatim: Some((verbatim, first)) });
    }
    let first = if eager { None } else { Some(choices.next().await) };
    match first {
        Some((_, Event::Failed(error))) => Err(error),
        first => Ok(Begun { choices, first, verbatim: None }),
    }
}

/// Answers with a stream that holds nothing but the failure of a request with this course.
pub fn failure_stream<W: ResponseWriter>(mut writer: W, failure: &Error, course: &Course) -> Response {
    let mut buffer = Vec::new();
    writer.fail(&mut buffer, failure);
    let asked = Served::asked(course).unwrap_or_default();
    stream_response(W::MEDIA_TYPE, Body::from(buffer), Served { capacity: failure.capacity, ..asked })
}

/// The loading progress of a model in percent; `None` if the model is not loading.
async fn loading_percent(fleet: &FleetClient, model: &str) -> Option<u64> {
    tokio::time::timeout(PROGRESS_TIMEOUT, fleet.loading_percent(model)).await.ok()?
}

/// Writes one stream. When the client leaves, it is dropped with the body. That drops the choices, which cancels them.
struct StreamedAnswer<W> {
    writer: W,
    end_hook: Option<EndHook<W>>,
    recorder: RequestRecorder,
    pieces: Pieces,
}

impl<W: ResponseWriter> StreamedAnswer<W> {
    /// Sends keep-alives and the loading progress until the generation has begun, then writes its events. Clients skip comments.
    async fn wait_for_start<P: Future<Output = Option<u64>>>(
        &mut self,
        mut start: impl Future<Output = Result<Begun>> + Unpin,
        progress: impl Fn() -> P,
    ) {
        loop {
            let mut buffer = Vec::new();
            if let Some(percent) = progress().await {
                self.writer.loading(&mut buffer, percent);
            }
            self.pieces.push(buffer).await;
            self.push_keep_alive().await;
            if let Ok(started) = tokio::time::timeout(KEEP_ALIVE_INTERVAL, &mut start).await {
                return match self.recorder.record_start(started) {
                    Ok(begun) => self.write(begun).await,
                    Err(error) => self.write_failure(&error).await,
                };
            }
        }
    }

    async fn write_failure(&mut self, error: &Error) {
        let mut buffer = Vec::new();
        self.writer.fail(&mut buffer, error);
        self.run_end_hook().await;
        self.pieces.push(buffer).await;
    }

    async fn write(&mut self, begun: Begun) {
        let Begun { choices, first, verbatim } = begun;
        match verbatim {
            Some((verbatim, first)) => self.pass(choices, *verbatim, first).await,
            None => self.write_events(choices, first).await,
        }
    }

    /// Passes the pieces of an answer on, and records its events.
    async fn pass(&mut self, mut choices: Choices, mut verbatim: Verbatim, first: Bytes) {
        // Each piece is one event, or empty.
        let mut passed = u64::from(!first.is_empty());
        self.pieces.push(first).await;
        let (mut silence, mut failed) = (Silence::new(), None);
        loop {
            tokio::select! {
                // The events follow their pieces.
                biased;
                piece = verbatim.next() => match piece {
                    Some(Ok(piece)) => {
                        passed += u64::from(!piece.is_empty());
                        self.pieces.push(piece).await;
                        silence.interrupt();
                    }
                    Some(Err(error)) => failed = Some(error),
                    None => break,
                },
                (choice, event) = choices.next(), if !choices.is_over() => {
                    self.recorder.record_event(choice, &event, choices.is_over());
                    // The time limit, which the provider does not know.
                    if let Event::Failed(error) = event && error.origin == Origin::Gateway {
                        failed = Some(error);
                        break;
                    }
                }
                () = silence.due() => self.push_keep_alive().await,
            }
        }
        while !choices.is_over()
            && let Some((choice, event)) = choices.try_next()
        {
            self.recorder.record_event(choice, &event, choices.is_over());
        }
        if let Some(error) = failed {
            self.writer.passed(passed);
            self.write_failure(&error).await;
        }
    }

    async fn write_events(&mut self, mut choices: Choices, first: Option<(usize, Event)>) {
        let mut buffer = Vec::with_capacity(BUFFER_BYTES);
        self.recorder.record_prompt(choices.prompt_tokens());
        if let Some(model) = self.recorder.course().target() {
            self.writer.set_model(&model);
        }
        self.writer.open(&mut buffer, choices.prompt_tokens());
        let mut next = first;
        if next.is_none() && !buffer.is_empty() {
            self.pieces.push(std::mem::take(&mut buffer)).await;
        }
        let mut silence = Silence::new();
        loop {
            let event = match next.take() {
                Some(event) => event,
                None => tokio::select! {
                    biased;
                    event = choices.next() => event,
                    () = silence.due() => {
                        self.push_keep_alive().await;
                        continue;
                    }
                },
            };
            let mut ended = self.write_event(&mut buffer, &event, choices.is_over());
            // Events that have arrived meanwhile go out in the same piece.
            while !ended
                && buffer.len() < PIECE_BYTES
                && let Some(event) = choices.try_next()
            {
                ended = self.write_event(&mut buffer, &event, choices.is_over());
            }
            if ended {
                let stored = self.run_end_hook().await;
                self.writer.end(&mut buffer, stored);
            }
            // The next piece is probably of the same length.
            let empty = Vec::with_capacity(buffer.len().max(BUFFER_BYTES));
            self.pieces.push(std::mem::replace(&mut buffer, empty)).await;
            silence.interrupt();
            if ended {
                return;
            }
        }
    }

    /// Returns whether the stream ends with this event.
    fn write_event(&mut self, buffer: &mut Vec<u8>, (choice, event): &(usize, Event), is_last: bool) -> bool {
        self.recorder.record_event(*choice, event, is_last);
        self.writer.push(buffer, *choice, event)
    }

    /// Returns whether the response was stored, if it was to be.
    async fn run_end_hook(&mut self) -> bool {
        match self.end_hook.take() {
            Some(hook) => hook(&self.writer).await,
            None => true,
        }
    }

    async fn push_keep_alive(&mut self) {
        let mut buffer = Vec::new();
        self.writer.keep_alive(&mut buffer);
        self.pieces.push(buffer).await;
    }
}
