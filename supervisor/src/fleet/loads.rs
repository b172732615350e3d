//! Who is started next, and how room is made for it.
//!
//! Models wait in one line: by the priority of who waits, then by since when. The first makes room; others go before it only within
//! the bounds of [`crate::eviction::overtaking`]. Only when nobody waits do models get their further workers, from memory that
//! is free.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipc_proto::generate::Priority;
use ipc_proto::supervisor::{ModelSettings, ModelState, Pressure, WorkerState};
use ipc_proto::{Error, ErrorKind, Source};
use tokio::sync::mpsc::unbounded_channel;

use super::Command;
use super::calls::DRAIN;
use super::owner::{Owner, Slot, Worker};
use super::worker::{Launch, Order, live};
use crate::eviction::overtaking::{Waiting, may_overtake};
use crate::eviction::{Activity, Plan, Resident, plan};
use crate::failures::Verdict;
use crate::memory::Need;
use crate::process::{Process, Rules};

/// Who has waited so long for room is told that there is none.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// A worker that is told to resize its KV pool and does not answer is not waited for longer.
const RESIZING: Duration = Duration::from_secs(35);

/// A worker that is to be started.
#[derive(Debug)]
struct Wanted {
    id: String,
    priority: Priority,
    since: Instant,
    /// It may take memory from others.
    disturbs: bool,
}

/// Who comes next after a step for one in the line.
#[derive(Debug, Clone, Copy)]
enum Next {
    /// Everybody.
    Anybody,
    /// Who may overtake this one.
    Overtakers(Waiting),
    /// Nobody.
    Nobody,
}

impl Owner {
    /// Starts what can start.
    pub(super) fn pump(&mut self) {
        if self.stopping {
            return;
        }
        self.drop_callers();
        let now = Instant::now();
        let line = self.line(now);
        if !line.is_empty() {
            // Who comes to a server that was at rest must not find an old answer.
            self.look_again(now);
        }
        let mut next = Next::Anybody;
        for wanted in &line {
            match next {
                Next::Anybody => next = self.advance(wanted, now),
                Next::Overtakers(first) => self.overtake(&first, wanted, now),
                Next::Nobody => return,
            }
        }
        if line.is_empty() {
            self.replace(now);
            self.extend(now);
        }
    }

    /// A start that nobody waits for any more does not begin.
    fn drop_callers(&mut self) {
        for slot in self.slots.values_mut() {
            slot.callers.retain(|caller| !caller.reply.is_closed());
        }
    }

    /// The models that have no worker and shall have one, the first first.
    fn line(&self, now: Instant) -> Vec<Wanted> {
        let waiting = self.slots.iter().filter(|(id, slot)| {
            (!slot.callers.is_empty() || slot.preload)
                && self.count(id, &[WorkerState::Starting, WorkerState::Ready]) == 0
                && slot.failures.verdict(now) == Verdict::Go
        });
        let mut line: Vec<Wanted> = waiting
            .map(|(id, slot)| Wanted {
                id: id.clone(),
                priority: self.urgency(id, slot),
                since: slot.callers.iter().map(|caller| caller.since).min().unwrap_or(now),
                disturbs: !slot.callers.is_empty(),
            })
            .collect();
        line.sort_by_key(|wanted| (!wanted.disturbs, wanted.priority, wanted.since));
        line
    }

    /// Who is loaded first: what the request says, and where that is nothing special, what is set for the model.
    fn urgency(&self, id: &str, slot: &Slot) -> Priority {
        let own = self.settings(id).priority;
        let asked = slot.callers.iter().map(|caller| match caller.want.priority {
            Priority::Normal => own,
            special => special,
        });
        asked.min().unwrap_or(own)
    }

    /// The models that wait, in the order in which they get their turn.
    pub(super) fn queue(&self, now: Instant) -> Vec<String> {
        let mut queue: Vec<String> = self.line(now).into_iter().map(|wanted| wanted.id).collect();
        queue.retain(|id| self.state(id) == ModelState::Queued);
        // Those whose last worker died a moment ago have no turn yet.
        let rest = self.slots.keys().filter(|id| self.state(id) == ModelState::Queued);
        let rest: Vec<String> = rest.filter(|id| !queue.contains(id)).cloned().collect();
        queue.extend(rest);
        queue
    }

    /// Starts a model that waits behind the first, where that does not hold the first up for long.
    fn overtake(&mut self, first: &Waiting, wanted: &Wanted, now: Instant) {
        let Some(need) = self.need(&wanted.id).filter(|_| wanted.disturbs) else { return };
        let next = self.waiting(need, wanted, now);
        if !self.is_resizing(now) && may_overtake(self.ledger.budget(), first, &next, &self.residents(now)) {
            tracing::info!(model = wanted.id, "starts before a larger model that waits for room");
            self.start(&wanted.id, need, need.kv_least, now);
        }
    }

    fn waiting(&self, need: Need, wanted: &Wanted, now: Instant) -> Waiting {
        let waited = now.saturating_duration_since(wanted.since);
        Waiting { need, waited, priority: wanted.priority, pinned: self.is_pinned(&wanted.id) }
    }

    /// Takes the next step for a model that waits.
    fn advance(&mut self, wanted: &Wanted, now: Instant) -> Next {
        let Wanted { id, since, disturbs, .. } = wanted;
        let waited = now.saturating_duration_since(*since);
        let Some(need) = self.need(id) else {
            // It was there when it was asked for.
            let text = format!("the model \"{id}\" is gone from the disk");
            self.slot(id).preload = false;
            self.fail(id, &Error::new(ErrorKind::ModelNotFound, Source::Client, text).with_param("model"));
            return Next::Anybody;
        };
        if waited > LONGEST_WAIT {
            let why = match self.pressure {
                Pressure::Normal => "the models that have the memory are busy",
                Pressure::Warn | Pressure::Critical => "the system is short of memory",
            };
            self.no_room(id, &need, why, true);
            return Next::Anybody;
        }
        if self.pressure > Pressure::Normal || self.is_resizing(now) {
            return Next::Nobody;
        }
        let held = Next::Overtakers(self.waiting(need, wanted, now));
        match plan(self.ledger.budget(), &need, &self.residents(now), waited, *disturbs) {
            Plan::Start { kv } => {
                self.start(id, need, kv, now);
                Next::Anybody
            }
            Plan::Shrink(sizes) => {
                self.shrink(&sizes, now);
                Next::Nobody
            }
            Plan::Evict(victims) => {
                self.evictions += victims.len() as u64;
                self.evict(&victims, &format!("evicted to make room for {id}"));
                held
            }
            Plan::Drain(victims) => {
                self.evictions += victims.len() as u64;
                self.evict(&victims, &format!("its requests end to make room for {id}, which has waited"));
                held
            }
            Plan::Wait if *disturbs => held,
            Plan::Wait => Next::Anybody,
            Plan::Never => {
                self.slot(id).preload = false;
                self.no_room(id, &need, "nothing that may be unloaded makes room for it", false);
                Next::Anybody
            }
        }
    }

    fn evict(&mut self, victims: &[u64], reason: &str) {
        for victim in victims {
            self.end(*victim, Some(DRAIN * 4), reason);
        }
    }

    pub(super) fn shrink(&mut self, sizes: &[(u64, u64)], now: Instant) {
        for (number, kv) in sizes {
            if let Some(worker) = self.workers.get_mut(number) {
                tracing::info!(model = worker.model, kv_mib = kv >> 20, "a worker's KV cache shrinks");
                worker.resizing = Some((*kv, now));
                worker.order(Order::Resize(*kv));
            }
        }
    }

    pub(super) fn is_resizing(&self, now: Instant) -> bool {
        let waits = |worker: &Worker| worker.resizing.is_some_and(|(_, since)| now - since < RESIZING);
        self.workers.values().any(waits)
    }

    /// Tells who waits for a model that there is no room for it, with the numbers.
    fn no_room(&mut self, id: &str, need: &Need, why: &str, again: bool) {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let text = format!(
            "the model \"{id}\" needs {} MiB of memory ({} for weights, {} for the KV cache, {} besides), and of the budget of {} \
             MiB {} MiB are free: {why}",
            mib(need.least()),
            mib(need.weights),
            mib(need.kv_least),
            mib(need.transient),
            mib(self.ledger.budget()),
            self.ledger.free() >> 20,
        );
        tracing::warn!(model = id, text, "no room");
        let error = Error::new(ErrorKind::Unavailable, Source::Supervisor, text).retryable(again);
        self.fail(id, &error);
    }

    /// What a worker of a model needs; `None` where there is no such model any more.
    pub(super) fn need(&mut self, id: &str) -> Option<Need> {
        let folder = self.registry.known(id)?;
        let details = self.registry.details(&folder);
        let settings = self.settings(id);
        let mut need = crate::estimate::need(&details, &settings, self.physical);
        if let Some(drafting) = settings.draft_model.and_then(|id| self.registry.known(&id)) {
            let drafting = self.registry.details(&drafting);
            need.drafting = crate::estimate::draft(&drafting, &details, need.kv_wanted);
            need.weights = need.weights.saturating_add(need.drafting);
        }
        Some(need)
    }

    /// The folder of the model that drafts and the bytes of its weights on disk; where there is none of that name the worker will
    /// say so of what was set.
    fn draft_folder(&mut self, settings: &ModelSettings) -> Option<(PathBuf, u64)> {
        let id = settings.draft_model.as_ref()?;
        let known = self.registry.known(id).map(|folder| (folder.path, folder.bytes));
        Some(known.unwrap_or_else(|| (PathBuf::from(id), 0)))
    }

    /// The workers, as far as room is concerned.
    pub(super) fn residents(&self, now: Instant) -> Vec<Resident> {
        let resident = |(number, worker): (&u64, &Worker)| {
            let busy = worker.process.health().running + worker.process.health().waiting > 0;
            let activity = match worker.process.state() {
                WorkerState::Starting => Activity::Starting,
                WorkerState::Ready if busy => Activity::Busy,
                WorkerState::Ready => worker.process.idle(now).map_or(Activity::Busy, Activity::Idle),
                _ => Activity::Leaving,
            };
            Resident {
                worker: *number,
                share: self.ledger.share(*number),
                kv_least: worker.need.kv_least.max(worker.kv_floor),
                activity,
                pinned: self.is_pinned(&worker.model) || self.is_awaited(*number),
                priority: self.settings(&worker.model).priority,
            }
        };
        self.workers.iter().map(resident).collect()
    }

    /// Whether a worker takes another one's place.
    fn is_awaited(&self, number: u64) -> bool {
        self.slots
            .values()
            .any(|slot| slot.restart.as_ref().is_some_and(|restart| restart.new == Some(number)))
    }

    /// Starts the further workers of models that have one.
    fn extend(&mut self, now: Instant) {
        if self.pressure > Pressure::Normal || self.is_resizing(now) {
            return;
        }
        let short = self.slots.iter().filter(|(id, slot)| {
            let there = self.count(id, &[WorkerState::Starting, WorkerState::Ready]);
            slot.wanted
                && slot.restart.is_none()
                && slot.failures.verdict(now) == Verdict::Go
                && self.count(id, &[WorkerState::Ready]) > 0
                && there < self.settings(id).replicas as usize
        });
        for id in short.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let Some(need) = self.need(&id) else { continue };
            match plan(self.ledger.budget(), &need, &self.residents(now), Duration::ZERO, false) {
                Plan::Start { kv } => drop(self.start(&id, need, kv, now)),
                Plan::Shrink(sizes) => return self.shrink(&sizes, now),
                _ => {}
            }
        }
    }

    /// Starts a process, whose memory is leased before it begins.
    pub(super) fn start(&mut self, id: &str, need: Need, kv: u64, now: Instant) -> u64 {
        self.incarnations += 1;
        let number = self.incarnations;
        let granted = self.ledger.grant(number, need.share(kv));
        debug_assert!(granted, "a plan to start has room for it");
        let folder = self.registry.known(id);
        let settings = self.settings(id);
        let draft = self.draft_folder(&settings);
        let launch = Launch {
            program: self.program.clone(),
            folder: folder.as_ref().map(|folder| folder.path.clone()).unwrap_or_default(),
            socket: self.run.join(format!("w{number}.sock")),
            model: id.to_owned(),
            flags: flags(&settings, draft.as_ref().map(|(path, _)| path.as_path()), need.kv_wanted),
            kv: (kv < need.kv_wanted).then_some(kv),
        };
        let (orders, received) = unbounded_channel();
        let rules = Rules {
            hang: Duration::from_secs(self.policy.hang_seconds.into()),
            step: longest_step(need.weights),
            weight_bytes: folder.map_or(0, |folder| folder.bytes) + draft.map_or(0, |(_, bytes)| bytes),
        };
        let worker = Worker {
            model: id.to_owned(),
            process: Process::starting(rules, now),
            orders,
            socket: launch.socket.clone(),
            pid: None,
            address: None,
            footprint: 0,
            need,
            resizing: None,
            kv_floor: 0,
            reason: String::new(),
        };
        tracing::info!(
            model = id,
            incarnation = number,
            lease_mib = need.share(kv).total() >> 20,
            kv_mib = kv >> 20,
            "a worker starts"
        );
        self.workers.insert(number, worker);
        let slot = self.slot(id);
        (slot.wanted, slot.preload) = (true, false);
        slot.note = "its worker starts".into();
        let reports = self.commands.clone();
        let report = move |report| drop(reports.send(Command::Report(number, report)));
        tokio::spawn(live(launch, received, Box::new(report)));
        number
    }
}

/// What a step of 512 prompt tokens, which a worker computes at once, takes where nothing but a few CPU cores does it: 2 operations
/// for each weight and token, 50 billion in a second; weights are 4 bytes there.
fn longest_step(weights: u64) -> Duration {
    match cfg!(target_os = "macos") {
        true => Duration::ZERO,
        false => Duration::from_millis(weights / 4 * 2 * 512 / 50_000_000),
    }
}

/// A model's settings as a worker's flags.
fn flags(settings: &ModelSettings, draft: Option<&Path>, kv: u64) -> Vec<String> {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: Option<u64>| {
        if let Some(value) = value {
            flags.extend([format!("--{name}"), value.to_string()]);
        }
    };
    flag("kv-mib", Some(kv.div_ceil(1 << 20)).filter(|mib| *mib > 0));
    flag("context-tokens", settings.context.map(u64::from));
    flag("max-sequences", settings.max_batch.map(u64::from));
    flag("draft-tokens", Some(u64::from(settings.draft_tokens)).filter(|tokens| *tokens > 0));
    let folders = [("draft-model", draft), ("adapter", settings.adapter.as_deref())];
    flags.extend(
        folders.into_iter().filter_map(|(name, folder)| Some(format!("--{name}={}", folder?.display()))),
    );
    // A name that the worker does not know ends it with a list of those that it does.
    flags.extend(settings.tool_format.as_ref().map(|format| format!("--tool-format={format}")));
    flags.extend(settings.reasoning_format.as_ref().map(|format| format!("--reasoning-format={format}")));
    flags.extend(settings.sanitize_control_tokens.then(|| "--sanitize-control-tokens".to_owned()));
    flags
}
