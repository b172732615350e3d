//! The workers: one task owns them all, others hold a [`Fleet`] and ask.
//!
//! A worker starts when a request names its model and nobody serves it. Many who ask at once share one start; one who
//! gives up does not stop it for the others, and a start that nobody waits for any more does not begin. Room for it is made
//! within one memory budget. What happens to a worker is decided by its state machine ([`crate::process`]), who has to go by
//! [`crate::eviction`]; here both meet the processes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_proto::supervisor::{Changes, KeepAlive, ModelEntry, ModelSettings, Pool, Want, WorkerAddress};
use ipc_proto::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::kept::Kept;
use crate::pressure::Source;
use crate::registry::Registry;

mod calls;
mod exits;
mod loads;
mod news;
mod owner;
mod reports;
mod restarts;
mod upkeep;
mod view;
mod worker;

use owner::Owner;
use worker::Report;

/// How often the owner looks around while there is anything to look at.
const TICK: Duration = Duration::from_millis(100);
/// How often it looks at the disk and the system's memory for whoever watches, also when nothing runs.
const LOOK: Duration = Duration::from_secs(5);

/// What the fleet is made of.
#[derive(Debug)]
pub(crate) struct Setup {
    /// Models on disk.
    pub(crate) registry: Registry,
    /// The worker's program.
    pub(crate) program: PathBuf,
    /// Where sockets go.
    pub(crate) run: PathBuf,
    /// Rules for all models.
    pub(crate) policy: Policy,
    /// What was set before.
    pub(crate) kept: Kept,
}

/// Rules for all models.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Bytes that workers may have together; `None`: three quarters of what the machine has for models.
    pub memory: Option<u64>,
    /// Seconds of idleness after which a model is unloaded; `None`: never.
    pub idle_seconds: Option<u32>,
    /// Seconds without a sign of life after which a worker is taken to hang.
    pub hang_seconds: u32,
    /// Settings of single models, by id.
    pub models: BTreeMap<String, ModelSettings>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { memory: None, idle_seconds: None, hang_seconds: 60, models: BTreeMap::new() }
    }
}

/// A handle to the task that owns the workers.
#[derive(Debug, Clone)]
pub(crate) struct Fleet(mpsc::UnboundedSender<Command>);

type Reply<T> = oneshot::Sender<T>;

enum Command {
    Ensure(Caller),
    Models(Reply<Vec<ModelEntry>>),
    Pool(Reply<Pool>),
    KeepAlive(String, KeepAlive, Reply<Result<()>>),
    Unload(String, bool, Reply<Result<()>>),
    Restart(String, Reply<Result<()>>),
    Pin(String, bool, Reply<Result<()>>),
    Settings(String, Reply<Result<ModelSettings>>),
    SetSettings(String, ModelSettings, Reply<Result<()>>),
    Watch(u64, Reply<Changes>),
    Report(u64, Report),
    Stop(Duration, Reply<()>),
}

/// Somebody who waits for a model.
struct Caller {
    want: Want,
    since: Instant,
    reply: Reply<Result<Vec<WorkerAddress>>>,
}

/// Starts the task; models to be loaded at once begin to load.
pub(crate) fn start(setup: Setup, pressure: Box<dyn Source>) -> Fleet {
    let (commands, mut queue) = mpsc::unbounded_channel();
    let mut owner = Owner::new(setup, pressure, commands.clone());
    owner.preload();
    owner.warn_of_unknown();
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looks = tokio::time::interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                command = queue.recv() => match command {
                    Some(command) => owner.obey(command),
                    None => return,
                },
                _ = ticks.tick(), if owner.has_work() => owner.tick(Instant::now()),
                _ = looks.tick() => owner.look_around(Instant::now()),
            }
            owner.settle();
        }
    });
    Fleet(commands)
}

fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, ipc_proto::Source::Supervisor, "the server is stopping")
}

impl Fleet {
    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    /// Where a model is served, after starting it where needed.
    pub(crate) async fn ensure_ready(&self, want: Want) -> Result<Vec<WorkerAddress>> {
        self.ask(|reply| Command::Ensure(Caller { want, since: Instant::now(), reply })).await?
    }

    /// Every model on disk.
    pub(crate) async fn models(&self) -> Vec<ModelEntry> {
        self.ask(Command::Models).await.unwrap_or_default()
    }

    /// The memory budget.
    pub(crate) async fn pool(&self) -> Pool {
        self.ask(Command::Pool).await.unwrap_or_default()
    }

    /// See [`ipc_proto::supervisor::Supervisor::keep_alive`].
    pub(crate) async fn keep_alive(&self, model: String, keep: KeepAlive) -> Result<()> {
        self.ask(|reply| Command::KeepAlive(model, keep, reply)).await?
    }

    /// Ends a model's workers; returns when their memory is back.
    pub(crate) async fn unload(&self, model: String, force: bool) -> Result<()> {
        self.ask(|reply| Command::Unload(model, force, reply)).await?
    }

    /// Replaces a model's workers; returns when the new one serves.
    pub(crate) async fn restart(&self, model: String) -> Result<()> {
        self.ask(|reply| Command::Restart(model, reply)).await?
    }

    /// Says whether a model may be evicted.
    pub(crate) async fn pin(&self, model: String, pinned: bool) -> Result<()> {
        self.ask(|reply| Command::Pin(model, pinned, reply)).await?
    }

    /// A model's settings.
    pub(crate) async fn settings(&self, model: String) -> Result<ModelSettings> {
        self.ask(|reply| Command::Settings(model, reply)).await?
    }

    /// Replaces a model's settings.
    pub(crate) async fn set_settings(&self, model: String, settings: ModelSettings) -> Result<()> {
        self.ask(|reply| Command::SetSettings(model, settings, reply)).await?
    }

    /// Changes after `revision`, once there are any.
    pub(crate) async fn watch(&self, revision: u64) -> Changes {
        self.ask(|reply| Command::Watch(revision, reply)).await.unwrap_or_default()
    }

    /// Ends every worker, by force after `grace`.
    pub(crate) async fn stop(&self, grace: Duration) {
        let _ = self.ask(|reply| Command::Stop(grace, reply)).await;
    }
}

#[cfg(test)]
mod tests;
