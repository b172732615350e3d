//! The life of one worker process as a state machine. Pure: it is told what happened and when, and says which signals to send.
//!
//! ```text
//! Starting ─ loaded ─▶ Ready ─ stop ─▶ Draining ─ deadline ─▶ Stopping ─ exit ─▶ Stopped
//!     └─ broken, no progress ─┴─ no sign of life ─┴──────────────▲   └─ exit, unasked ─▶ Failed
//! ```
//!
//! A sign of life is a step made while there is work, or an answer while there is none; of one that starts, an answer, and now
//! and then more bytes read. A process without one gets SIGABRT, at which it writes what its threads are doing and leaves a core
//! file where the system writes any, and then SIGKILL, which ends stopped processes too.

use std::time::{Duration, Instant};

use ipc_proto::supervisor::WorkerState;
use ipc_proto::worker::{Health, Progress};

/// How long a process may take to end that has nothing to finish.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long one that hangs has to write what its threads are doing, after SIGABRT.
const LAST_STACKS: Duration = Duration::from_secs(3);
/// A process that does not answer yet is given so long at least: its program and MLX may come from a slow disk.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// A start that answers and reads nothing is given so long at least: it reads no weights while it parses a tokenizer.
const QUIET_START: Duration = Duration::from_secs(20);
/// A start may take this long, and more for its weights.
const START: Duration = Duration::from_secs(120);
/// The slowest reading of weights that is waited for, bytes in a second.
const SLOWEST_READING: u64 = 5 << 20;
/// Between two events lies a tick at least; a longer gap means that we did not run, and nobody could be heard.
const LONGEST_GAP: Duration = Duration::from_secs(5);

/// What a process is measured by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// Without a sign of life for so long it is taken to hang.
    pub(crate) hang: Duration,
    /// One step may take so much longer: a long prompt through a large model, on a slow machine.
    pub(crate) step: Duration,
    /// Bytes of its weights on disk.
    pub(crate) weight_bytes: u64,
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// It told how far loading is.
    Progress(Progress),
    /// It serves.
    Loaded,
    /// It said why it cannot.
    Broken,
    /// It answered.
    Health(Health),
    /// Its requests may end within this time, and then it shall.
    Drain(Duration),
    /// It shall end at once.
    Stop,
    /// It has ended.
    Exited,
    /// Time passed.
    Tick,
}

/// What to send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGABRT.
    Abort,
    /// SIGKILL.
    Kill,
}

/// One process.
#[derive(Debug)]
pub(crate) struct Process {
    rules: Rules,
    state: WorkerState,
    began: Instant,
    /// The last sign of life.
    alive: Instant,
    /// The last answer, at first the beginning.
    heard: Instant,
    /// It has answered before.
    answered: bool,
    /// The last event.
    seen: Instant,
    progress: Progress,
    health: Health,
    idle_since: Option<Instant>,
    /// When what was asked of it last is over.
    deadline: Option<Instant>,
    killed: bool,
    /// Whether it ends because it was told to.
    asked: bool,
    fault: Option<Fault>,
}

/// Why a process is ended that nobody asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The model cannot be loaded.
    Broken,
    /// Loading stood still, though it answered.
    SlowStart,
    /// There was work and no step, or no answer.
    Hung,
}

impl Process {
    /// A process that is being started.
    pub(crate) fn starting(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            state: WorkerState::Starting,
            began: now,
            alive: now,
            heard: now,
            answered: false,
            seen: now,
            progress: Progress::default(),
            health: Health::default(),
            idle_since: None,
            deadline: None,
            killed: false,
            asked: false,
            fault: None,
        }
    }

    /// Takes note of `event`.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Option<Signal> {
        self.excuse(now);
        let ended = matches!(self.state, WorkerState::Stopped | WorkerState::Failed);
        match event {
            _ if ended => None,
            Event::Exited => {
                self.state = if self.asked { WorkerState::Stopped } else { WorkerState::Failed };
                None
            }
            Event::Stop => {
                self.asked |= self.fault.is_none();
                self.kill()
            }
            Event::Drain(grace) => self.drain(grace, now),
            Event::Tick => self.tick(now),
            Event::Progress(progress) => {
                (self.heard, self.answered) = (now, true);
                if progress.loaded > self.progress.loaded {
                    self.alive = now;
                }
                self.progress = progress;
                None
            }
            Event::Loaded => {
                if self.state == WorkerState::Starting {
                    self.state = WorkerState::Ready;
                    self.alive = now;
                    self.heard = now;
                    self.idle_since = Some(now);
                }
                None
            }
            Event::Broken if self.state == WorkerState::Starting => {
                self.end(Fault::Broken, Signal::Terminate, now)
            }
            Event::Broken => None,
            Event::Health(health) => {
                self.note(health, now);
                None
            }
        }
    }

    /// While this process itself did not run, nobody could be heard.
    fn excuse(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.seen);
        if gap > LONGEST_GAP {
            self.alive += gap;
            self.heard += gap;
        }
        self.seen = self.seen.max(now);
    }

    fn note(&mut self, health: Health, now: Instant) {
        self.heard = now;
        let busy = health.running + health.waiting > 0;
        let stepped = health.steps != self.health.steps;
        if stepped || !busy {
            self.alive = now;
        }
        self.idle_since = match self.idle_since {
            _ if busy => None,
            Some(since) if !stepped => Some(since),
            _ => Some(now),
        };
        self.health = health;
    }

    fn drain(&mut self, grace: Duration, now: Instant) -> Option<Signal> {
        let until = now + grace;
        match self.state {
            WorkerState::Ready => {
                self.state = WorkerState::Draining;
                self.asked = true;
                self.deadline = Some(until);
                Some(Signal::Terminate)
            }
            // There is nothing to finish.
            WorkerState::Starting => {
                self.state = WorkerState::Stopping;
                self.asked = true;
                self.deadline = Some(now + grace.min(LAST_WORDS));
                Some(Signal::Terminate)
            }
            WorkerState::Draining => {
                self.deadline = self.deadline.map(|deadline| deadline.min(until));
                None
            }
            _ => None,
        }
    }

    fn tick(&mut self, now: Instant) -> Option<Signal> {
        match self.state {
            WorkerState::Starting => {
                let fault = self.fault_of_start(now)?;
                self.end(fault, Signal::Abort, now)
            }
            WorkerState::Ready | WorkerState::Draining if self.hangs(now) => {
                self.asked = false;
                self.end(Fault::Hung, Signal::Abort, now)
            }
            WorkerState::Draining | WorkerState::Stopping
                if self.deadline.is_some_and(|deadline| now >= deadline) =>
            {
                self.kill()
            }
            _ => None,
        }
    }

    fn hangs(&self, now: Instant) -> bool {
        let Rules { hang, step, .. } = self.rules;
        now.saturating_duration_since(self.heard) > hang
            || now.saturating_duration_since(self.alive) > hang + step
    }

    /// What is wrong with the start, if anything is: silence, no progress, or too long in all.
    fn fault_of_start(&self, now: Instant) -> Option<Fault> {
        let Rules { hang, weight_bytes, .. } = self.rules;
        let silence = if self.answered { hang } else { hang.max(FIRST_ANSWER) };
        if now.saturating_duration_since(self.heard) > silence {
            return Some(Fault::Hung);
        }
        let reading = Duration::from_secs(weight_bytes / SLOWEST_READING);
        let over = now.saturating_duration_since(self.alive) > hang.max(QUIET_START)
            || now.saturating_duration_since(self.began) > START + reading;
        over.then_some(Fault::SlowStart)
    }

    fn end(&mut self, fault: Fault, signal: Signal, now: Instant) -> Option<Signal> {
        self.state = WorkerState::Stopping;
        self.fault = Some(fault);
        let grace = match fault {
            // It has told why already.
            Fault::Broken => LAST_WORDS / 10,
            Fault::SlowStart | Fault::Hung => LAST_STACKS,
        };
        self.deadline = Some(now + grace);
        Some(signal)
    }

    fn kill(&mut self) -> Option<Signal> {
        self.state = WorkerState::Stopping;
        self.deadline = None;
        (!std::mem::replace(&mut self.killed, true)).then_some(Signal::Kill)
    }

    /// What it is doing.
    pub(crate) fn state(&self) -> WorkerState {
        self.state
    }

    /// Whether it takes requests.
    pub(crate) fn is_ready(&self) -> bool {
        self.state == WorkerState::Ready
    }

    /// Why it is ended though nobody asked for that.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether it was told to end, and not for a fault.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked
    }

    /// How far loading is.
    pub(crate) fn progress(&self) -> Progress {
        self.progress
    }

    /// What it answered last.
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// For how long it has had nothing to do.
    pub(crate) fn idle(&self, now: Instant) -> Option<Duration> {
        self.idle_since.map(|since| now.saturating_duration_since(since))
    }

    /// How long it has lived.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    /// Takes it for busy from now on until it says otherwise: somebody was just sent to it.
    pub(crate) fn touch(&mut self, now: Instant) {
        if self.idle_since.is_some() {
            self.idle_since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
