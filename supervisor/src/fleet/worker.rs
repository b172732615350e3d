//! One worker process from start to end: everything that touches it. What to do with it is decided elsewhere.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_proto::Result;
use ipc_proto::socket::{self, Channel};
use ipc_proto::worker::{Health, ModelInfo, Progress, WorkerClient};
use nix::sys::signal;
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::child::{Child, End};
use crate::machine;
use crate::process::Signal;

/// Between two looks at it.
const POLL: Duration = Duration::from_millis(250);
const SOCKET_POLL: Duration = Duration::from_millis(5);
/// An answer that takes longer counts as none.
const ANSWER: Duration = Duration::from_secs(2);
/// The engine answers between two steps, and a step of a long prompt takes its time.
const ENGINE_ANSWER: Duration = Duration::from_secs(30);
/// Large models load for minutes; whoever watches ends a worker that hangs.
const LOADING: Duration = Duration::from_secs(24 * 3600);
/// The supervisor watches over draining; the worker's own patience only has to be longer.
const DRAIN_SECONDS: &str = "86400";

/// How to start it.
#[derive(Debug)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) model: String,
    /// What its settings say.
    pub(super) flags: Vec<String>,
    /// KV cache that it may have from the beginning, bytes, where that is less than its flags say.
    pub(super) kv: Option<u64>,
}

/// What it is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Take a signal.
    Signal(Signal),
    /// Let the KV pool have so many bytes.
    Resize(u64),
    /// Give back what only caches hold.
    Trim,
}

/// What became of it.
#[derive(Debug)]
pub(super) enum Report {
    /// The process runs.
    Spawned(u32),
    /// How far loading is.
    Progress(Progress),
    /// Loading has ended.
    Loaded(Result<ModelInfo>),
    /// It answered; and has so much memory.
    Health(Health, u64),
    /// It loads and has so much memory.
    Footprint(u64),
    /// The KV pool has this limit now.
    Resized(u64),
    /// It has ended, and its memory is back.
    Exited(End, Vec<String>),
}

type Reports = Box<dyn Fn(Report) + Send + Sync>;

/// Starts the process, passes orders and reports on, and returns when it has ended.
pub(super) async fn live(launch: Launch, mut orders: UnboundedReceiver<Order>, report: Reports) {
    let mut child = match Child::spawn(launch.command(), &launch.model) {
        Ok(child) => child,
        Err(error) => {
            let end = End { text: format!("cannot be started: {error}"), ..End::default() };
            return report(Report::Exited(end, Vec::new()));
        }
    };
    let pid = child.id().unwrap_or_default();
    report(Report::Spawned(pid));
    let (engine, engine_orders) = tokio::sync::mpsc::unbounded_channel();
    let end = {
        let watching = launch.watch(pid, engine_orders, &report);
        tokio::pin!(watching);
        loop {
            tokio::select! {
                () = &mut watching => {}
                order = orders.recv() => match order {
                    Some(Order::Signal(signal)) => send(&child, signal, &launch.model).await,
                    Some(order) => pass(&engine, order),
                    // Nobody is left to give orders.
                    None => child.signal(signal::Signal::SIGKILL),
                },
                end = child.wait() => break end,
            }
        }
    };
    // The task that reads its stderr may be a moment behind.
    tokio::time::sleep(Duration::from_millis(50)).await;
    machine::returned(pid).await;
    let _ = std::fs::remove_file(&launch.socket);
    report(Report::Exited(end, child.last_words()));
}

fn pass(engine: &UnboundedSender<Order>, order: Order) {
    // Without an engine there is nothing to resize.
    let _ = engine.send(order);
}

async fn send(child: &Child, signal: Signal, model: &str) {
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
                "a worker hangs: what its threads are doing, before it is aborted"
            );
            child.signal(signal::Signal::SIGABRT);
        }
    }
}

impl Launch {
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--lifeline").arg("--model").arg(&self.folder);
        command.arg("--socket").arg(&self.socket).arg("--name").arg(&self.model);
        command.arg("--drain-seconds").arg(DRAIN_SECONDS).args(&self.flags);
        command
    }

    /// Looks at the process for ever: first until its model is loaded, then at its health.
    async fn watch(&self, pid: u32, orders: UnboundedReceiver<Order>, report: &Reports) {
        let client = self.connect().await;
        match self.load(&client, pid, report).await {
            Some(outcome) => report(Report::Loaded(outcome)),
            // The process is going down, and its exit status will be the reason that is told.
            None => std::future::pending().await,
        }
        tokio::join!(serve(&client, orders, report), look(&client, pid, report));
    }

    async fn connect(&self) -> WorkerClient {
        loop {
            if let Ok(stream) = socket::connect(&self.socket, Channel::Control).await {
                return WorkerClient::new(tarpc::client::Config::default(), socket::framed(stream)).spawn();
            }
            tokio::time::sleep(SOCKET_POLL).await;
        }
    }

    /// How loading ended; the KV pool has its limit then, before anybody may send requests that need more.
    async fn ready(&self, client: &WorkerClient, report: &Reports) -> Option<Result<ModelInfo>> {
        let outcome = client.wait_ready(within(LOADING)).await.ok()?;
        if let (Ok(_), Some(kv)) = (&outcome, self.kv) {
            resize(client, kv, report).await;
        }
        Some(outcome)
    }

    async fn load(&self, client: &WorkerClient, pid: u32, report: &Reports) -> Option<Result<ModelInfo>> {
        let waiting = self.ready(client, report);
        tokio::pin!(waiting);
        loop {
            tokio::select! {
                outcome = &mut waiting => return outcome,
                () = tokio::time::sleep(POLL) => {
                    if let Ok(progress) = client.progress(within(ANSWER)).await {
                        report(Report::Progress(progress));
                    }
                    if let Some(bytes) = machine::footprint(pid).await {
                        report(Report::Footprint(bytes));
                    }
                }
            }
        }
    }
}

/// Carries orders to the engine out, one after another.
async fn serve(client: &WorkerClient, mut orders: UnboundedReceiver<Order>, report: &Reports) {
    while let Some(order) = orders.recv().await {
        match order {
            Order::Resize(bytes) => resize(client, bytes, report).await,
            // What is left is seen at the next look.
            Order::Trim => drop(client.trim(within(ENGINE_ANSWER)).await),
            Order::Signal(_) => {}
        }
    }
}

async fn resize(client: &WorkerClient, bytes: u64, report: &Reports) {
    if let Ok(Ok(limit)) = client.resize_kv(within(ENGINE_ANSWER), bytes).await {
        report(Report::Resized(limit));
    }
}

async fn look(client: &WorkerClient, pid: u32, report: &Reports) {
    let mut bytes = 0;
    loop {
        if let Ok(health) = client.health(within(ANSWER)).await {
            // A system that does not say leaves what was known.
            bytes = machine::footprint(pid).await.unwrap_or(bytes);
            report(Report::Health(health, bytes));
        }
        tokio::time::sleep(POLL).await;
    }
}

fn within(limit: Duration) -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + limit;
    context
}
