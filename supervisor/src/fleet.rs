//! The workers. One task owns them all ([`FleetActor`]); other code holds a [`Fleet`] and sends it commands.
//!
//! A worker starts if a request names its model and no worker serves it. Concurrent callers share one start.
//! A caller that leaves does not stop the start for the others. A start that has lost all callers does not begin.
//! All workers share one memory budget. Two pure modules decide: [`crate::process`] about one worker's life, and
//! [`crate::eviction`] about the worker that has to make room. The actor applies their decisions to the processes.
//!
//! The actor neither scans a disk nor waits for one to sync: threads do both and report back.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_proto::supervisor::{Changes, KeepAlive, ModelEntry, ModelSettings, Pool, Want, WorkerAddress};
use ipc_proto::{Error, ErrorKind, Result};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::external::Externals;
use crate::overrides::{Edit, SettingsOverrides};
use crate::pressure::PressureProbe;
use crate::registry::{Catalogue, ModelSource};

mod actor;
mod calls;
mod changes;
mod exits;
mod launches;
mod lookups;
mod maintenance;
mod reports;
mod restarts;
mod settings;
mod starts;
mod view;
mod worker;

use actor::FleetActor;
use lookups::{Lookup, ModelCall};
use worker::Report;

/// Interval of deadlines and state machines while there is work.
const TICK: Duration = Duration::from_millis(100);
/// Interval at which disk and memory are checked for watchers, even if no worker runs.
const WATCH_REFRESH: Duration = Duration::from_secs(5);

/// The parts of a fleet.
pub(crate) struct FleetSetup {
    /// In order of precedence.
    pub(crate) sources: Vec<Box<dyn ModelSource>>,
    /// The worker's program.
    pub(crate) program: PathBuf,
    pub(crate) externals: Externals,
    /// The folder for sockets.
    pub(crate) run: PathBuf,
    /// Bytes for all models together.
    pub(crate) budget: u64,
    pub(crate) policy: Policy,
    /// Settings of earlier runs.
    pub(crate) overrides: SettingsOverrides,
    pub(crate) pressure: Box<dyn PressureProbe>,
}

/// Rules for all models.
#[derive(Debug, Clone)]
pub struct Policy {
    /// Bytes for all workers together; `None` for three quarters of the memory available to models.
    pub memory: Option<u64>,
    /// Seconds of idleness after which a model is unloaded; `None` for never.
    pub idle_seconds: Option<u32>,
    /// Seconds without a sign of life after which a worker counts as hung.
    pub hang_seconds: u32,
    /// Settings of single models, by id.
    pub models: BTreeMap<String, ModelSettings>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { memory: None, idle_seconds: None, hang_seconds: 60, models: BTreeMap::new() }
    }
}

/// The parts of a policy that can change while the server runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes for all models together. Loaded models stay if it becomes too small; the next one has to wait for room.
    pub(crate) budget: u64,
    pub(crate) idle_seconds: Option<u32>,
    /// For workers that start from now on.
    pub(crate) hang_seconds: u32,
}

/// A handle to the actor.
#[derive(Debug, Clone)]
pub(crate) struct Fleet(mpsc::UnboundedSender<FleetCommand>);

type Reply<T> = oneshot::Sender<T>;

enum FleetCommand {
    Lookup(Lookup),
    Pool(Reply<Pool>),
    Watch(u64, Reply<Changes>),
    Limits(Limits, Reply<()>),
    /// From the task of the worker with this incarnation.
    Report(u64, Report),
    /// From the scan thread of the store with this index.
    Scanned(usize, Catalogue),
    /// The overrides that are on disk now, or why they are not.
    SettingsWritten(io::Result<SettingsOverrides>),
    Stop(Duration, Reply<()>),
}

/// A caller that waits until a model is ready.
struct Caller {
    want: Want,
    since: Instant,
    reply: Reply<Result<Vec<WorkerAddress>>>,
}

/// Starts the actor. Models with `preload` start once a scan finds them.
///
/// # Errors
/// A scan thread cannot be started.
pub(crate) fn start(setup: FleetSetup) -> io::Result<Fleet> {
    let (commands, queue) = mpsc::unbounded_channel();
    let actor = FleetActor::new(setup, commands.clone())?;
    tokio::spawn(run_actor(actor, queue));
    Ok(Fleet(commands))
}

async fn run_actor(mut actor: FleetActor, mut queue: mpsc::UnboundedReceiver<FleetCommand>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut refreshes = tokio::time::interval(WATCH_REFRESH);
    refreshes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = queue.recv() => match command {
                Some(command) => actor.handle(command),
                None => return,
            },
            _ = ticks.tick(), if actor.has_work() => actor.tick(Instant::now()),
            _ = refreshes.tick() => actor.refresh_for_watchers(Instant::now()),
        }
        actor.reconcile();
    }
}

/// The answer to a call that comes during the server's end.
pub(crate) fn stopping() -> Error {
    Error::new(ErrorKind::Unavailable, ipc_proto::Origin::Supervisor, "the server is stopping")
}

impl Fleet {
    async fn call<T>(&self, command: impl FnOnce(Reply<T>) -> FleetCommand) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        self.0.send(command(reply)).map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    async fn call_model<T>(
        &self,
        name: String,
        call: impl FnOnce(Reply<Result<T>>) -> ModelCall,
    ) -> Result<T> {
        self.call(|reply| FleetCommand::Lookup(Lookup::Model(name, call(reply)))).await?
    }

    /// Addresses of the model's ready workers. Starts one if none is ready.
    pub(crate) async fn ensure_ready(&self, want: Want) -> Result<Vec<WorkerAddress>> {
        let name = want.model.clone();
        self.call_model(name, |reply| ModelCall::Ensure(Caller { want, since: Instant::now(), reply })).await
    }

    pub(crate) async fn models(&self) -> Vec<ModelEntry> {
        self.call(|reply| FleetCommand::Lookup(Lookup::List(reply))).await.unwrap_or_default()
    }

    /// One model by its id or an alias.
    pub(crate) async fn model(&self, name: String) -> Result<ModelEntry> {
        self.call_model(name, ModelCall::Entry).await
    }

    pub(crate) async fn pool(&self) -> Pool {
        self.call(FleetCommand::Pool).await.unwrap_or_default()
    }

    /// See [`ipc_proto::supervisor::Supervisor::keep_alive`].
    pub(crate) async fn keep_alive(&self, model: String, keep: KeepAlive) -> Result<()> {
        self.call_model(model, |reply| ModelCall::KeepAlive(keep, reply)).await
    }

    /// See [`ipc_proto::supervisor::Supervisor::excuse`].
    pub(crate) async fn excuse(&self, model: String, incarnation: u64) -> Result<()> {
        self.call_model(model, |reply| ModelCall::Excuse(incarnation, reply)).await
    }

    /// Ends a model's workers. Returns when their memory is back.
    pub(crate) async fn unload(&self, model: String, force: bool) -> Result<()> {
        self.call_model(model, |reply| ModelCall::Unload { force, reply }).await
    }

    /// Replaces a model's workers. Returns when the new ones serve.
    pub(crate) async fn restart(&self, model: String) -> Result<()> {
        self.call_model(model, ModelCall::Restart).await
    }

    /// Sets whether a model may be evicted. Returns when the setting is on disk.
    pub(crate) async fn pin(&self, model: String, pinned: bool) -> Result<()> {
        self.call_model(model, |reply| ModelCall::Edit(Edit::Pin(pinned), reply)).await
    }

    pub(crate) async fn settings(&self, model: String) -> Result<ModelSettings> {
        self.call_model(model, ModelCall::Settings).await
    }

    /// Replaces a model's settings. Returns when they are on disk.
    pub(crate) async fn set_settings(&self, model: String, settings: ModelSettings) -> Result<()> {
        settings.check()?;
        self.call_model(model, |reply| ModelCall::Edit(Edit::Settings(settings), reply)).await
    }

    pub(crate) async fn set_limits(&self, limits: Limits) -> Result<()> {
        self.call(|reply| FleetCommand::Limits(limits, reply)).await
    }

    /// The changes after `revision`, once there are any.
    pub(crate) async fn watch(&self, revision: u64) -> Changes {
        self.call(|reply| FleetCommand::Watch(revision, reply)).await.unwrap_or_default()
    }

    /// Ends every worker, by SIGKILL after `grace`.
    pub(crate) async fn stop(&self, grace: Duration) {
        let _ = self.call(|reply| FleetCommand::Stop(grace, reply)).await;
    }
}

#[cfg(test)]
mod tests;
