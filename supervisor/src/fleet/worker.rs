//! One worker process from start to end.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::WorkerAddress;
use ipc_proto::worker::{ModelInfo, WorkerClient};
use ipc_proto::{Error, ErrorKind, Result, Source};
use tokio::process::Command;
use tokio::sync::watch;

use crate::child::Child;

/// How long a process may take to open its socket; loading comes after that and may take as long as it takes.
const SOCKET_DEADLINE: Duration = Duration::from_secs(20);
const SOCKET_POLL: Duration = Duration::from_millis(5);
/// A worker that could not load has nothing to finish.
const NO_GRACE: Duration = Duration::from_millis(200);

/// How to start it.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) model: String,
    pub(super) incarnation: u64,
}

/// What a worker's task knows.
pub(super) struct Life {
    pub(super) launch: Launch,
    pub(super) stopping: watch::Receiver<Option<Duration>>,
    /// Told once what loading ended with.
    pub(super) loaded: Box<dyn FnOnce(Result<WorkerAddress>) + Send>,
}

impl Life {
    /// Starts the process and returns when it has ended.
    pub(super) async fn live(self) {
        let Self { launch, mut stopping, loaded } = self;
        let mut child = match Child::spawn(launch.command(), &launch.model) {
            Ok(child) => child,
            Err(e) => {
                return loaded(Err(launch.error(ErrorKind::Internal, &format!("cannot be started: {e}"))));
            }
        };
        let outcome = tokio::select! {
            outcome = launch.wait_ready() => outcome,
            end = child.wait() => {
                // The task that reads its stderr may be a moment behind.
                tokio::time::sleep(Duration::from_millis(50)).await;
                Err(launch.error(ErrorKind::ModelBroken, &format!("ended while loading ({end}): {}", child.last_words())))
            }
            _ = stopped(&mut stopping) => Err(launch.error(ErrorKind::Unavailable, "is stopping")),
        };
        let usable = outcome.is_ok();
        loaded(outcome);
        if !usable {
            child.stop(NO_GRACE).await;
        } else {
            tokio::select! {
                end = child.wait() => {
                    let last_words = child.last_words();
                    tracing::error!(model = launch.model, end, last_words, "a worker ended");
                }
                grace = stopped(&mut stopping) => child.stop(grace).await,
            }
        }
        let _ = std::fs::remove_file(&launch.socket);
    }
}

async fn stopped(stopping: &mut watch::Receiver<Option<Duration>>) -> Duration {
    // An error means that nobody is left to stop us in order.
    stopping.wait_for(Option::is_some).await.ok().and_then(|grace| *grace).unwrap_or_default()
}

impl Launch {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--lifeline").arg("--model").arg(&self.folder);
        command.arg("--socket").arg(&self.socket).arg("--name").arg(&self.model);
        command
    }

    fn error(&self, kind: ErrorKind, text: &str) -> Error {
        Error::new(kind, Source::Worker, format!("the worker for \"{}\" {text}", self.model))
    }

    async fn wait_ready(&self) -> Result<WorkerAddress> {
        let stream = self.connect().await?;
        let client = WorkerClient::new(tarpc::client::Config::default(), socket::framed(stream)).spawn();
        let mut context = tarpc::context::current();
        // Large models load for minutes; a worker that hangs is ended by whoever stops waiting.
        context.deadline = Instant::now() + Duration::from_secs(3600);
        let answer: Result<ModelInfo> = match client.wait_ready(context).await {
            Ok(answer) => answer,
            // The process is going down: let its exit status be the reason that is told.
            Err(_) => std::future::pending().await,
        };
        let model = answer.map_err(|error| {
            let message = format!("the model \"{}\" cannot be loaded: {}", self.model, error.message);
            Error { message, ..error }
        })?;
        Ok(WorkerAddress { socket: self.socket.clone(), incarnation: self.incarnation, model })
    }

    async fn connect(&self) -> Result<tokio::net::UnixStream> {
        let start = Instant::now();
        loop {
            match socket::connect(&self.socket, Channel::Control).await {
                Ok(stream) => return Ok(stream),
                Err(e) if start.elapsed() > SOCKET_DEADLINE => {
                    return Err(self.error(ErrorKind::Internal, &format!("does not answer: {e}")));
                }
                Err(_) => tokio::time::sleep(SOCKET_POLL).await,
            }
        }
    }
}
