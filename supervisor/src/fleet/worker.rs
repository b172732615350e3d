//! One worker process from start to end. Only this module touches the process; the actor decides.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipc_proto::Result;
use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::http_socket;
use ipc_proto::worker::{Health, LoadProgress, ModelInfo, WorkerClient};
use nix::sys::signal;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::child::{Child, ProcessExit, kill_group};
use crate::external::ExternalModel;
use crate::machine;
use crate::process::Signal;

/// Interval between two health checks.
const POLL: Duration = Duration::from_millis(250);
const SOCKET_POLL: Duration = Duration::from_millis(5);
/// A health check that takes longer has failed.
const ANSWER: Duration = Duration::from_secs(2);
/// The engine answers between two steps, and a step of a long prompt takes its time.
const ENGINE_ANSWER: Duration = Duration::from_secs(30);
/// Large models load for minutes. The state machine ends a worker that hangs.
const LOADING: Duration = Duration::from_secs(24 * 3600);
/// The supervisor ends a drain that takes too long, so the worker's own limit only has to be longer.
const DRAIN_SECONDS: &str = "86400";
/// Time that the task reading stderr has after the process has ended.
const STDERR_LAG: Duration = Duration::from_millis(50);

/// The parameters of a start.
#[derive(Debug)]
pub(super) struct WorkerLaunch {
    pub(super) program: Program,
    pub(super) socket: PathBuf,
    pub(super) model: String,
    /// The KV pool's first size in bytes, if it is less than the flags say.
    pub(super) kv: Option<u64>,
}

/// The program that serves a model.
#[derive(Debug)]
pub(super) enum Program {
    /// A worker.
    Worker {
        path: PathBuf,
        folder: PathBuf,
        /// From the model's settings.
        flags: Vec<String>,
    },
    /// A runner, with the program of a backend in its group.
    Runner { path: PathBuf, model: ExternalModel },
}

/// A command to a worker's task.
#[derive(Debug)]
pub(super) enum WorkerCommand {
    Signal(Signal),
    /// Set the KV pool's size in bytes.
    Resize(u64),
    /// Free all caches.
    Trim,
}

/// A report of a worker's task.
#[derive(Debug)]
pub(super) enum Report {
    /// The process runs and has this id.
    Spawned(u32),
    Progress(LoadProgress),
    /// Loading has ended.
    Loaded(Result<ModelInfo>),
    /// An answer to a health check, and the process's memory in bytes.
    Health(Health, u64),
    /// The process's memory in bytes while it loads.
    Footprint(u64),
    /// The KV pool's new size in bytes.
    Resized(u64),
    /// The process has ended and its memory is free. The lines are the last of its stderr.
    Exited(ProcessExit, Vec<String>),
}

type ReportFn = Box<dyn Fn(Report) + Send + Sync>;

/// Starts the process, executes commands and reports events. Returns when the process has ended.
pub(super) async fn run_worker(
    launch: WorkerLaunch,
    mut commands: UnboundedReceiver<WorkerCommand>,
    report: ReportFn,
) {
    let mut child = match launch.spawn() {
        Ok(child) => child,
        Err(error) => {
            let exit = ProcessExit { text: format!("cannot be started: {error}"), ..ProcessExit::default() };
            return report(Report::Exited(exit, Vec::new()));
        }
    };
    let pid = child.id().unwrap_or_default();
    report(Report::Spawned(pid));
    let (engine, engine_commands) = tokio::sync::mpsc::unbounded_channel();
    let exit = {
        let watching = launch.watch(pid, engine_commands, &report);
        tokio::pin!(watching);
        loop {
            tokio::select! {
                () = &mut watching => {}
                command = commands.recv() => match command {
                    Some(WorkerCommand::Signal(signal)) => send_signal(&child, signal, &launch.model).await,
                    Some(command) => forward(&engine, command),
                    // The actor is gone.
                    None => child.signal(signal::Signal::SIGKILL),
                },
                exit = child.wait() => break exit,
            }
        }
    };
    if launch.owns_group() {
        kill_group(pid);
    }
    tokio::time::sleep(STDERR_LAG).await;
    if launch.owns_group() {
        machine::wait_for_group(pid).await;
    } else {
        machine::wait_for_release(pid).await;
    }
    for socket in [&launch.socket, &http_socket(&launch.socket)] {
        let _ = std::fs::remove_file(socket);
    }
    report(Report::Exited(exit, child.last_words()));
}

fn forward(engine: &UnboundedSender<WorkerCommand>, command: WorkerCommand) {
    // Without an engine there is nothing to resize.
    let _ = engine.send(command);
}

async fn send_signal(child: &Child, signal: Signal, model: &str) {
    match signal {
        Signal::Terminate => child.signal(signal::Signal::SIGTERM),
        Signal::Kill => child.signal(signal::Signal::SIGKILL),
        Signal::Abort => {
            let pid = child.id().unwrap_or_default();
            let threads = machine::threads(pid).await;
            tracing::error!(
                model,
                pid,
                threads,
                "a worker hangs: what its threads are doing, before it is ended"
            );
            child.signal(machine::HANG_SIGNAL);
        }
    }
}

impl WorkerLaunch {
    fn spawn(&self) -> std::io::Result<Child> {
        match &self.program {
            Program::Worker { path, folder, flags } => {
                let mut command = self.command(path);
                command.arg("--model").arg(folder).arg("--drain-seconds").arg(DRAIN_SECONDS).args(flags);
                Child::spawn(command, &self.model)
            }
            Program::Runner { path, model } => {
                let mut command = self.command(path);
                command
                    .arg("--http")
                    .arg(http_socket(&self.socket))
                    .arg(format!("--health={}", model.health));
                command.arg("--start-seconds").arg(model.start_seconds.to_string());
                command
                    .arg("--")
                    .args(&model.command)
                    .env_clear()
                    .envs(model.environment(std::env::vars_os()));
                Child::spawn_group(command, &self.model)
            }
        }
    }

    /// The flags that workers and runners share.
    fn command(&self, path: &Path) -> Command {
        let mut command = Command::new(path);
        command.arg("--lifeline").arg("--socket").arg(&self.socket);
        // A name may begin with a dash, as a flag does.
        command.arg(format!("--name={}", self.model));
        command
    }

    fn owns_group(&self) -> bool {
        matches!(self.program, Program::Runner { .. })
    }

    /// The memory of its processes in bytes.
    async fn footprint(&self, pid: u32) -> Option<u64> {
        if self.owns_group() { machine::group_footprint(pid).await } else { machine::footprint(pid).await }
    }

    /// Reports progress until the model is loaded, then health. Never returns.
    async fn watch(&self, pid: u32, commands: UnboundedReceiver<WorkerCommand>, report: &ReportFn) {
        let client = self.connect().await;
        match self.load(&client, pid, report).await {
            Some(outcome) => report(Report::Loaded(outcome)),
            // The process is ending. Its exit status will be reported as the reason.
            None => std::future::pending().await,
        }
        tokio::join!(execute_commands(&client, commands, report), self.poll_health(&client, pid, report));
    }

    async fn connect(&self) -> WorkerClient {
        loop {
            if let Ok(stream) = socket::connect(&self.socket, Channel::Control).await {
                return WorkerClient::new(tarpc::client::Config::default(), socket::framed(stream)).spawn();
            }
            tokio::time::sleep(SOCKET_POLL).await;
        }
    }

    /// Waits until loading has ended. Sets the KV pool's size before the first request can exceed it.
    async fn wait_ready(&self, client: &WorkerClient, report: &ReportFn) -> Option<Result<ModelInfo>> {
        let outcome = client.wait_ready(within(LOADING)).await.ok()?;
        if let (Ok(_), Some(kv)) = (&outcome, self.kv) {
            resize(client, kv, report).await;
        }
        Some(outcome)
    }

    async fn load(&self, client: &WorkerClient, pid: u32, report: &ReportFn) -> Option<Result<ModelInfo>> {
        let waiting = self.wait_ready(client, report);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                outcome = &mut waiting => return outcome,
                () = tokio::time::sleep(POLL) => {
                    if let Ok(progress) = client.progress(within(ANSWER)).await {
                        report(Report::Progress(progress));
                    }
                    if let Some(bytes) = self.footprint(pid).await {
                        report(Report::Footprint(bytes));
                    }
                }
            }
        }
    }

    async fn poll_health(&self, client: &WorkerClient, pid: u32, report: &ReportFn) {
        let mut bytes = 0;
        loop {
            if let Ok(health) = client.health(within(ANSWER)).await {
                // If the system does not say, the last value stays.
                bytes = self.footprint(pid).await.unwrap_or(bytes);
                report(Report::Health(health, bytes));
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Executes commands to the engine one after another.
async fn execute_commands(
    client: &WorkerClient,
    mut commands: UnboundedReceiver<WorkerCommand>,
    report: &ReportFn,
) {
    while let Some(command) = commands.recv().await {
        match command {
            WorkerCommand::Resize(bytes) => resize(client, bytes, report).await,
            // The next health check shows the result.
            WorkerCommand::Trim => drop(client.trim(within(ENGINE_ANSWER)).await),
            WorkerCommand::Signal(_) => {}
        }
    }
}

async fn resize(client: &WorkerClient, bytes: u64, report: &ReportFn) {
    if let Ok(Ok(limit)) = client.resize_kv(within(ENGINE_ANSWER), bytes).await {
        report(Report::Resized(limit));
    }
}

fn within(limit: Duration) -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + limit;
    context
}
