//! `POST /api/pull`: downloads a model of Hugging Face's hub, with Ollama's lines of progress.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::channel::mpsc::{self, Sender};
use futures::{SinkExt, StreamExt, stream};
use ipc_proto::hub::{Download, DownloadOrder, DownloadState};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::handler::DEFAULT_TAG;
use super::write::LineWriter;
use crate::dispatch::writer::ResponseWriter;
use crate::dispatch::{Services, json_line};
use crate::fleet::FleetClient;
use crate::fleet::watch::{FleetEvent, FleetWatch};
use crate::protocols::common::body::{self, Body};
use crate::protocols::error::ApiError;

/// Time between two looks at the download.
const INTERVAL: Duration = Duration::from_millis(500);
/// Time after which a line is sent again, so that no proxy takes the connection for dead.
const REPEATED_AFTER: Duration = Duration::from_secs(10);
/// Time without an answer of the hub process after which the pull fails. One that died is replaced sooner.
const SILENCE: Duration = Duration::from_secs(30);
/// Time that the list of models may take to have a model that is on disk.
const LISTING: Duration = Duration::from_secs(10);
/// Prefixes under which Ollama knows the hub.
const HOSTS: [&str; 2] = ["hf.co/", "huggingface.co/"];

/// The request of `/api/pull`.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "OllamaPullRequest")]
#[serde(deny_unknown_fields)]
pub struct PullRequest {
    /// `organisation/name` on Hugging Face's hub, also after `hf.co/`.
    #[serde(alias = "name")]
    pub model: String,
    /// By default true: a line for each step.
    pub stream: Option<bool>,
    /// True is refused.
    pub insecure: Option<bool>,
}

impl Body for PullRequest {}

/// A line of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "OllamaPullProgress")]
pub struct PullProgress {
    /// `success` at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// The download's id: clients have a bar for each digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Bytes of all files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Bytes that are on disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
    /// Why it has failed. The last line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// `POST /api/pull`. The download goes on if the client leaves.
///
/// # Errors
/// A wrong field; the hub process does not answer. Without a stream: the download fails.
pub async fn pull(
    State(services): State<Services>,
    State(watch): State<FleetWatch>,
    request: Request,
) -> Result<Response, ApiError> {
    let request: PullRequest = body::json(request).await?;
    if request.insecure == Some(true) {
        return Err(Error::invalid("insecure", "insecure must be false: the hub is asked over TLS").into());
    }
    let model = hub_name(&request.model)?.to_owned();
    let ending = watch.subscribe();
    let order = DownloadOrder { model: model.clone(), ..DownloadOrder::default() };
    let id = services.fleet.add_download(order).await?.id;
    let mut download = Following { id, model, fleet: services.fleet, ending };
    if request.stream == Some(false) {
        let (sender, _) = mpsc::channel(0);
        download.follow(&mut Lines { sender, last: None }).await?;
        return Ok(Json(status("success")).into_response());
    }
    let (sender, receiver) = mpsc::channel(0);
    let followed = stream::once(async move {
        let mut lines = Lines { sender, last: None };
        match download.follow(&mut lines).await {
            Ok(()) => status("success"),
            Err(error) => PullProgress { error: Some(error.message), ..PullProgress::default() },
        }
    });
    // Both end with the body when the client leaves. The last line is the one that `followed` gives.
    let lines = stream::select(receiver, followed).map(|line| Ok::<_, Infallible>(bytes(&line)));
    Ok(([(CONTENT_TYPE, LineWriter::MEDIA_TYPE)], HttpBody::from_stream(lines)).into_response())
}

fn bytes(line: &PullProgress) -> Bytes {
    // This type always serialises.
    let mut line = json_line::to_vec(line).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

/// The name on the hub that a name of Ollama's form means.
///
/// # Errors
/// It can be no name on the hub.
fn hub_name(name: &str) -> Result<&str> {
    let bare = HOSTS.iter().find_map(|host| name.strip_prefix(host)).unwrap_or(name);
    let bare = bare.strip_suffix(DEFAULT_TAG).unwrap_or(bare);
    if !bare.contains('/') || bare.contains(':') {
        let text = format!(
            "\"{name}\" is no model of Hugging Face's hub: name it ORGANISATION/NAME, such as mlx-community/Qwen3-4B-4bit. \
             `mlxd search` and the page Discover find models"
        );
        return Err(Error::invalid("model", text));
    }
    Ok(bare)
}

/// The lines of an answer. Without a client they go nowhere.
struct Lines {
    sender: Sender<PullProgress>,
    /// The last line, and when it was sent.
    last: Option<(PullProgress, Instant)>,
}

impl Lines {
    /// Sends a line that says something new, or a known one after a while.
    async fn update(&mut self, line: PullProgress) {
        let is_known = |(last, at): &(PullProgress, Instant)| *last == line && at.elapsed() < REPEATED_AFTER;
        if !self.last.as_ref().is_some_and(is_known) {
            self.send(line).await;
        }
    }

    async fn send(&mut self, line: PullProgress) {
        self.last = Some((line.clone(), Instant::now()));
        // Nobody listens where the client asked for no lines.
        let _ = self.sender.send(line).await;
    }
}

/// A download that a client follows.
struct Following {
    id: String,
    model: String,
    fleet: Arc<FleetClient>,
    ending: Receiver<FleetEvent>,
}

impl Following {
    /// Sends a line for each step until the model is listed.
    ///
    /// # Errors
    /// The download fails or is cancelled; the hub process does not answer; the server ends.
    async fn follow(&mut self, lines: &mut Lines) -> Result<()> {
        let mut answered = Instant::now();
        lines.send(status("pulling manifest")).await;
        loop {
            match self.fleet.downloads().await {
                Ok(all) => {
                    answered = Instant::now();
                    let download = all.into_iter().find(|download| download.id == self.id);
                    let download = download.ok_or_else(|| problem("the download was cancelled".into()))?;
                    match progress(&download)? {
                        Some(line) => lines.update(line).await,
                        None => break,
                    }
                }
                // A hub process that died is replaced.
                Err(error) if answered.elapsed() > SILENCE => return Err(error),
                Err(_) => {}
            }
            self.pause().await?;
        }
        let since = Instant::now();
        while self.fleet.model(&self.model).await.is_err() && since.elapsed() < LISTING {
            self.pause().await?;
        }
        Ok(())
    }

    /// Waits until the next look.
    ///
    /// # Errors
    /// The server ends.
    async fn pause(&mut self) -> Result<()> {
        let ending = async {
            while !matches!(self.ending.recv().await, Ok(FleetEvent::End) | Err(RecvError::Closed)) {}
        };
        match tokio::time::timeout(INTERVAL, ending).await {
            Err(_) => Ok(()),
            Ok(()) => {
                let text = "the server ends; the download goes on when it runs again";
                Err(Error::new(ErrorKind::Unavailable, Origin::Gateway, text))
            }
        }
    }
}

fn status(text: &str) -> PullProgress {
    PullProgress { status: Some(text.to_owned()), ..PullProgress::default() }
}

fn problem(text: String) -> Error {
    Error::new(ErrorKind::Upstream, Origin::Hub, text)
}

/// The line of an unfinished download; `None` if it is complete.
///
/// # Errors
/// It has failed.
fn progress(download: &Download) -> Result<Option<PullProgress>> {
    let Download { id, model, bytes_done, bytes_total, error, note, .. } = download;
    let line = match (download.state, note, bytes_total) {
        (DownloadState::Done, ..) => return Ok(None),
        (DownloadState::Failed, ..) => {
            return Err(problem(error.clone().unwrap_or_else(|| "the download has failed".into())));
        }
        (DownloadState::Paused, ..) => status("paused"),
        (_, Some(note), _) => status(note),
        (DownloadState::Queued, ..) => status("waiting for other downloads"),
        (DownloadState::Running, _, None) => status("pulling manifest"),
        (DownloadState::Running, _, Some(total)) => PullProgress {
            digest: Some(id.clone()),
            total: Some(*total),
            completed: Some(*bytes_done),
            ..status(&format!("pulling {model}"))
        },
    };
    Ok(Some(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ollamas_form_are_names_on_the_hub() {
        for name in ["org/m", "hf.co/org/m", "huggingface.co/org/m:latest", "org/m:latest"] {
            assert_eq!(hub_name(name).unwrap(), "org/m", "{name}");
        }
        for name in ["llama3.2", "llama3.2:1b", "hf.co/org/m:Q4_K_M", ""] {
            assert!(hub_name(name).unwrap_err().message.contains("ORGANISATION/NAME"), "{name}");
        }
    }

    #[test]
    fn progress_is_a_line_until_the_end() {
        let state = |state| Download { id: "d1".into(), model: "org/m".into(), state, ..Download::default() };
        let shown = |download: &Download| progress(download).unwrap().unwrap().status.unwrap();
        assert_eq!(shown(&state(DownloadState::Queued)), "waiting for other downloads");
        assert_eq!(shown(&state(DownloadState::Paused)), "paused");
        let mut running = state(DownloadState::Running);
        assert_eq!(shown(&running), "pulling manifest");
        (running.bytes_total, running.bytes_done) = (Some(9), 4);
        let line = progress(&running).unwrap().unwrap();
        assert_eq!(
            serde_json::to_string(&line).unwrap(),
            r#"{"status":"pulling org/m","digest":"d1","total":9,"completed":4}"#
        );
        assert_eq!(progress(&state(DownloadState::Done)).unwrap(), None);
        let failed = Download { error: Some("gated".into()), ..state(DownloadState::Failed) };
        assert_eq!(progress(&failed).unwrap_err().message, "gated");
    }
}
