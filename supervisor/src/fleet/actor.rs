//! The state of the fleet's actor, and the primitives that its other modules build on.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipc_proto::Result;
use ipc_proto::supervisor::{Exit, KeepAlive, Pressure, WorkerAddress, WorkerState};
use tokio::sync::mpsc::UnboundedSender;

use super::changes::ChangeLog;
use super::lookups::PendingLookup;
use super::settings::PendingEdit;
use super::worker::WorkerCommand;
use super::{Caller, FleetCommand, FleetSetup, Policy, Reply};
use crate::external::Externals;
use crate::failures::Failures;
use crate::machine;
use crate::memory::{Ledger, Need};
use crate::overrides::SettingsOverrides;
use crate::pressure::PressureProbe;
use crate::process::{Event, Fault, Process, Signal};
use crate::registry::Registry;

/// The owner of all workers.
pub(super) struct FleetActor {
    pub(super) registry: Registry,
    pub(super) program: PathBuf,
    pub(super) externals: Externals,
    pub(super) run: PathBuf,
    pub(super) policy: Policy,
    /// They take precedence over the policy.
    pub(super) overrides: SettingsOverrides,
    /// In order. The first is being written.
    pub(super) edits: VecDeque<PendingEdit>,
    /// Calls that wait for a scan.
    pub(super) lookups: Vec<PendingLookup>,
    /// Models to preload that no scan has found yet.
    pub(super) preloads: BTreeSet<String>,
    /// Bytes of memory that the machine has.
    pub(super) physical: u64,
    /// By model id.
    pub(super) slots: BTreeMap<String, Slot>,
    /// By incarnation.
    pub(super) workers: BTreeMap<u64, Worker>,
    pub(super) ledger: Ledger,
    /// The last incarnation that was given out.
    pub(super) incarnations: u64,
    pub(super) evictions: u64,
    pub(super) change_log: ChangeLog,
    pub(super) probe: Box<dyn PressureProbe>,
    pub(super) pressure: Pressure,
    pub(super) probed_at: Option<Instant>,
    /// When caches were last trimmed under pressure.
    pub(super) trimmed_at: Option<Instant>,
    /// When a worker was last ended under pressure.
    pub(super) relieved_at: Option<Instant>,
    pub(super) commands: UnboundedSender<FleetCommand>,
    /// Waits until the last worker has ended.
    pub(super) stopped: Option<Reply<()>>,
    pub(super) stopping: bool,
}

/// The state of a model apart from its files.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) callers: Vec<Caller>,
    /// A worker is to start even without a caller.
    pub(super) preload: bool,
    /// Further replicas start if there is room.
    pub(super) wanted: bool,
    /// Workers up to this incarnation were unloaded on purpose. Requests lost with them must not load the model again.
    pub(super) unloaded: u64,
    /// The lifetime when idle that the loading caller set.
    pub(super) held: KeepAlive,
    /// The lifetime when idle that the last request set. It takes precedence over `held`.
    pub(super) asked: KeepAlive,
    pub(super) failures: Failures,
    pub(super) last_exit: Option<Exit>,
    pub(super) unloads: Vec<PendingUnload>,
    pub(super) restart: Option<PendingRestart>,
    /// The reason for the latest change, for watchers.
    pub(super) note: String,
}

/// An unload that waits for workers to end. It does not wait for workers that started later.
pub(super) struct PendingUnload {
    pub(super) remaining: Vec<u64>,
    pub(super) reply: Reply<Result<()>>,
}

/// A model's workers are being replaced.
pub(super) struct PendingRestart {
    /// Workers that still have to be replaced.
    pub(super) old: Vec<u64>,
    /// The replacement that is starting.
    pub(super) new: Option<u64>,
    /// An old worker has ended before its replacement started.
    pub(super) owed: bool,
    /// The time of its last progress.
    pub(super) since: Instant,
    pub(super) reply: Reply<Result<()>>,
}

/// A worker process.
pub(super) struct Worker {
    pub(super) model: String,
    pub(super) process: Process,
    pub(super) commands: UnboundedSender<WorkerCommand>,
    pub(super) socket: PathBuf,
    pub(super) pid: Option<u32>,
    /// Known once the model is loaded.
    pub(super) address: Option<WorkerAddress>,
    /// Bytes.
    pub(super) footprint: u64,
    pub(super) need: Need,
    /// The size in bytes that the KV pool was asked to take, and when.
    pub(super) resizing: Option<(u64, Instant)>,
    /// Bytes below which the KV pool cannot shrink while its requests run.
    pub(super) kv_floor: u64,
    /// Why it is being ended.
    pub(super) reason: String,
    /// A request is to blame if it dies.
    pub(super) excused: bool,
}

impl FleetActor {
    /// Starts the scan threads. No worker runs yet.
    pub(super) fn new(setup: FleetSetup, commands: UnboundedSender<FleetCommand>) -> io::Result<Self> {
        let FleetSetup { sources, program, externals, run, budget, policy, overrides, pressure } = setup;
        let reports = commands.clone();
        let registry = Registry::start(sources, move |store, catalogue| {
            let _ = reports.send(FleetCommand::Scanned(store, catalogue));
        })?;
        let mut actor = Self {
            registry,
            program,
            externals,
            run,
            policy,
            overrides,
            edits: VecDeque::new(),
            lookups: Vec::new(),
            preloads: BTreeSet::new(),
            physical: machine::memory().total,
            slots: BTreeMap::new(),
            workers: BTreeMap::new(),
            ledger: Ledger::new(budget),
            incarnations: 0,
            evictions: 0,
            change_log: ChangeLog::default(),
            probe: pressure,
            pressure: Pressure::Normal,
            probed_at: None,
            trimmed_at: None,
            relieved_at: None,
            commands,
            stopped: None,
            stopping: false,
        };
        actor.preloads = actor.configured_ids().filter(|id| actor.settings(id).preload).cloned().collect();
        Ok(actor)
    }

    /// Whether anything has a deadline.
    pub(super) fn has_work(&self) -> bool {
        let is_waiting = |slot: &Slot| !slot.callers.is_empty() || slot.preload;
        !self.workers.is_empty() || !self.lookups.is_empty() || self.slots.values().any(is_waiting)
    }

    pub(super) fn slot(&mut self, id: &str) -> &mut Slot {
        self.slots.entry(id.to_owned()).or_default()
    }

    /// A model's workers with their incarnations, oldest first.
    pub(super) fn workers_of<'a>(&'a self, id: &'a str) -> impl Iterator<Item = (u64, &'a Worker)> + 'a {
        self.workers
            .iter()
            .filter(move |(_, worker)| worker.model == id)
            .map(|(number, worker)| (*number, worker))
    }

    /// The number of a model's workers in one of these states.
    pub(super) fn count_workers(&self, id: &str, states: &[WorkerState]) -> usize {
        self.workers_of(id).filter(|(_, worker)| states.contains(&worker.process.state())).count()
    }

    /// Addresses of a model's ready workers.
    pub(super) fn ready_addresses(&self, id: &str) -> Vec<WorkerAddress> {
        let ready = self.workers_of(id).filter(|(_, worker)| worker.process.is_ready());
        ready.filter_map(|(_, worker)| worker.address.clone()).collect()
    }

    /// Passes an event to a worker's state machine and sends the signal that it asks for.
    pub(super) fn apply_event(&mut self, number: u64, event: Event) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        let before = worker.process.state();
        let signal = worker.process.handle(event, Instant::now());
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
            worker.send(WorkerCommand::Signal(signal));
        }
        if signal == Some(Signal::Abort) {
            worker.reason = match worker.process.fault() {
                Some(Fault::SlowStart) => "it made no progress in loading".into(),
                _ => "it hung".into(),
            };
        }
    }

    /// Ends a worker. With a `grace`, its requests may end first.
    pub(super) fn end_worker(&mut self, number: u64, grace: Option<Duration>, reason: &str) {
        let Some(worker) = self.workers.get_mut(&number) else { return };
        if worker.reason.is_empty() {
            worker.reason = reason.to_owned();
        }
        let id = worker.model.clone();
        self.slot(&id).note = reason.to_owned();
        self.apply_event(number, grace.map_or(Event::Stop, Event::Drain));
    }
}

impl Worker {
    /// Sends a command to the worker's task. A task that has ended needs none.
    pub(super) fn send(&self, command: WorkerCommand) {
        let _ = self.commands.send(command);
    }
}
