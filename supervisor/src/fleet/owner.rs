//! What the task that owns the workers knows.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_proto::supervisor::{Exit, KeepAlive, ModelSettings, Pressure, WorkerAddress, WorkerState};
use ipc_proto::{Error, ErrorKind, Result, Source};
use tokio::sync::mpsc::UnboundedSender;

use super::news::News;
use super::worker::Order;
use super::{Caller, Command, Policy, Reply, Setup};
use crate::failures::Failures;
use crate::kept::Kept;
use crate::machine;
use crate::memory::{Ledger, Need};
use crate::pressure;
use crate::process::{Event, Fault, Process, Signal};
use crate::registry::Registry;

/// The state of everything.
pub(super) struct Owner {
    pub(super) registry: Registry,
    pub(super) program: PathBuf,
    pub(super) run: PathBuf,
    pub(super) policy: Policy,
    /// What was set instead of what the policy says.
    pub(super) kept: Kept,
    pub(super) physical: u64,
    pub(super) slots: BTreeMap<String, Slot>,
    /// By incarnation.
    pub(super) workers: BTreeMap<u64, Worker>,
    pub(super) ledger: Ledger,
    pub(super) incarnations: u64,
    pub(super) evictions: u64,
    pub(super) news: News,
    pub(super) source: Box<dyn pressure::Source>,
    pub(super) pressure: Pressure,
    /// When pressure was last asked for, caches were last trimmed, and a worker was last ended for it.
    pub(super) looked: Option<Instant>,
    pub(super) trimmed: Option<Instant>,
    pub(super) relieved: Option<Instant>,
    pub(super) commands: UnboundedSender<Command>,
    pub(super) stopped: Option<Reply<()>>,
    pub(super) stopping: bool,
}

/// What is known of a model beside its files.
#[derive(Default)]
pub(super) struct Slot {
    /// Who waits for it to be ready.
    pub(super) callers: Vec<Caller>,
    /// It is wanted without a caller: when the server started.
    pub(super) preload: bool,
    /// More workers of it are started where there is room.
    pub(super) wanted: bool,
    /// Workers up to this incarnation were unloaded on purpose: who had requests in them shall not load it again.
    pub(super) unloaded: u64,
    /// How long it stays when it falls idle: as who loaded it said, and instead as the last request said.
    pub(super) held: KeepAlive,
    pub(super) asked: KeepAlive,
    pub(super) failures: Failures,
    pub(super) last_exit: Option<Exit>,
    /// Who waits for workers to be gone.
    pub(super) unloading: Vec<Unloading>,
    pub(super) restart: Option<Restarting>,
    /// Why it changes, for whoever watches.
    pub(super) note: String,
}

/// Workers that were told to go. Others may have been asked for since: these are not waited for.
pub(super) struct Unloading {
    pub(super) left: Vec<u64>,
    pub(super) reply: Reply<Result<()>>,
}

/// Workers that are being replaced.
pub(super) struct Restarting {
    /// Those that are left to be replaced.
    pub(super) old: Vec<u64>,
    /// The one that starts in the place of the next.
    pub(super) new: Option<u64>,
    /// An old one has gone before its replacement began.
    pub(super) owed: bool,
    /// When it last went on.
    pub(super) since: Instant,
    pub(super) reply: Reply<Result<()>>,
}

/// One process.
pub(super) struct Worker {
    pub(super) model: String,
    pub(super) process: Process,
    pub(super) orders: UnboundedSender<Order>,
    pub(super) socket: PathBuf,
    pub(super) pid: Option<u32>,
    pub(super) address: Option<WorkerAddress>,
    pub(super) footprint: u64,
    pub(super) need: Need,
    /// What its KV pool was told to become, and when.
    pub(super) resizing: Option<(u64, Instant)>,
    /// Below this its pool does not shrink while its requests run.
    pub(super) kv_floor: u64,
    /// Why it is ended.
    pub(super) reason: String,
}

impl Owner {
    /// Nothing runs.
    pub(super) fn new(
        setup: Setup,
        source: Box<dyn pressure::Source>,
        commands: UnboundedSender<Command>,
    ) -> Self {
        let Setup { registry, program, run, policy, kept } = setup;
        let budget = policy.memory.unwrap_or_else(machine::default_budget);
        Self {
            registry,
            program,
            run,
            policy,
            kept,
            physical: machine::memory().total,
            slots: BTreeMap::new(),
            workers: BTreeMap::new(),
            ledger: Ledger::new(budget),
            incarnations: 0,
            evictions: 0,
            news: News::default(),
            source,
            pressure: Pressure::Normal,
            looked: None,
            trimmed: None,
            relieved: None,
            commands,
            stopped: None,
            stopping: false,
        }
    }

    /// Whether time changes anything.
    pub(super) fn has_work(&self) -> bool {
        !self.workers.is_empty() || self.slots.values().any(|slot| !slot.callers.is_empty() || slot.preload)
    }

    /// The id that a name stands for: an id, or an alias of one.
    pub(super) fn resolve(&mut self, name: &str) -> Result<String> {
        if self.workers.values().any(|worker| worker.model == name) || self.registry.folder(name).is_some() {
            return Ok(name.to_owned());
        }
        let aliased =
            self.names().find(|id| self.settings(id).aliases.iter().any(|alias| alias == name)).cloned();
        match aliased {
            Some(id) if self.registry.folder(&id).is_some() => Ok(id),
            _ => {
                let text = format!("the model \"{name}\" does not exist; {}", self.registry.there_are());
                Err(Error::new(ErrorKind::ModelNotFound, Source::Client, text).with_param("model"))
            }
        }
    }

    /// The ids that anything is set for.
    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.policy.models.keys().chain(self.kept.models())
    }

    /// A model's settings as they are in force.
    pub(super) fn settings(&self, id: &str) -> ModelSettings {
        let set = self.kept.settings(id).or_else(|| self.policy.models.get(id));
        set.cloned().unwrap_or_default()
    }

    /// Whether a model may not be evicted.
    pub(super) fn is_pinned(&self, id: &str) -> bool {
        self.kept.pinned(id).unwrap_or_else(|| self.settings(id).pin)
    }

    pub(super) fn slot(&mut self, id: &str) -> &mut Slot {
        self.slots.entry(id.to_owned()).or_default()
    }

    /// A model's processes.
    pub(super) fn of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (u64, &'a Worker)> + 'a {
        self.workers
            .iter()
            .filter(move |(_, worker)| worker.model == id)
            .map(|(number, worker)| (*number, worker))
    }

    /// Its processes in one of these states.
    pub(super) fn count(&self, id: &str, states: &[WorkerState]) -> usize {
        self.of(id).filter(|(_, worker)| states.contains(&worker.process.state())).count()
    }

    /// Where requests for it can go.
    pub(super) fn ready(&self, id: &str) -> Vec<WorkerAddress> {
        let ready = self.of(id).filter(|(_, worker)| worker.process.is_ready());
        ready.filter_map(|(_, worker)| worker.address.clone()).collect()
    }

    /// Tells a worker's state machine of an event, and does what it says.
    pub(super) fn event(&mut self, number: u64, event: Event) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let before = worker.process.state();
        let signal = worker.process.on(event, Instant::now());
        let after = worker.process.state();
        if before != after {
            tracing::info!(
                model = worker.model,
                incarnation = number,
                pid = worker.pid,
                from = ?before,
                to = ?after,
                reason = worker.reason,
                "a worker changes"
            );
        }
        if let Some(signal) = signal {
            worker.order(Order::Signal(signal));
        }
        if signal == Some(Signal::Abort) {
            worker.reason = match worker.process.fault() {
                Some(Fault::SlowStart) => "it made no progress in loading".into(),
                _ => "it hung".into(),
            };
        }
    }

    /// Ends a worker: its requests may end first within `grace`, where there is one.
    pub(super) fn end(&mut self, number: u64, grace: Option<Duration>, reason: &str) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        if worker.reason.is_empty() {
            worker.reason = reason.to_owned();
        }
        let id = worker.model.clone();
        self.slot(&id).note = reason.to_owned();
        self.event(number, grace.map_or(Event::Stop, Event::Drain));
    }
}

impl Worker {
    /// Gives its task an order; a task that has ended needs none.
    pub(super) fn order(&self, order: Order) {
        let _ = self.orders.send(order);
    }
}
