//! The life of one worker process as a state machine. Pure: it takes events with their times and returns signals.
//!
//! ```text
//! Starting ─ loaded ─▶ Ready ─ stop ─▶ Draining ─ deadline ─▶ Stopping ─ exit ─▶ Stopped
//!     └─ broken, no progress ─┴─ no sign of life ─┴──────────────▲   └─ exit, unasked ─▶ Failed
//! ```
//!
//! With work, a step is a sign of life. Without work, an answer is. A process that starts must answer, and from time to
//! time read more bytes. A process without a sign of life gets SIGABRT, on macOS SIGKILL. At SIGABRT it writes its threads' stacks, and
//! the system may write a core file. SIGKILL follows, which also ends stopped processes.

use std::time::{Duration, Instant};

use ipc_proto::supervisor::WorkerState;
use ipc_proto::worker::{Health, LoadProgress};

/// Time that a process without requests has to end.
const EXIT_LIMIT: Duration = Duration::from_secs(2);
/// Time that a hung process has to write its stacks after SIGABRT.
const STACKS_LIMIT: Duration = Duration::from_secs(3);
/// The least silence allowed before the first answer: the program and MLX may come from a slow disk.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// The least time allowed without bytes read: a worker reads no weights while it parses a tokenizer.
const QUIET_START: Duration = Duration::from_secs(20);
/// Time that a start may take, apart from reading weights.
const START_LIMIT: Duration = Duration::from_secs(120);
/// The slowest tolerated disk, in bytes per second.
const SLOWEST_DISK: u64 = 5 << 20;
/// Ticks are more frequent. A longer gap between events means that the supervisor itself did not run.
const LONGEST_GAP: Duration = Duration::from_secs(5);

/// The limits for one process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    /// A process without a sign of life for this time is hung.
    pub(crate) hang: Duration,
    /// The extra time for one step: a long prompt, a large model, a slow machine.
    pub(crate) step: Duration,
    /// The extra time for a start: large weights, a slow disk.
    pub(crate) reading: Duration,
}

/// Time that a tolerable disk needs for weights of this size.
pub(crate) fn reading_time(weight_bytes: u64) -> Duration {
    Duration::from_secs(weight_bytes / SLOWEST_DISK)
}

/// An event in a process's life.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Event {
    /// An answer while loading.
    Progress(LoadProgress),
    /// The model is loaded.
    Loaded,
    /// The worker reported that the model cannot be loaded.
    Broken,
    /// An answer to a health check.
    Health(Health),
    /// End, after running requests have had this time.
    Drain(Duration),
    /// End at once.
    Stop,
    /// The process has ended.
    Exited,
    /// Time has passed.
    Tick,
}

/// A signal to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGABRT, on macOS SIGKILL.
    Abort,
    /// SIGKILL.
    Kill,
}

/// The state of one process.
#[derive(Debug)]
pub(crate) struct Process {
    rules: Rules,
    state: WorkerState,
    started_at: Instant,
    /// The time of the last sign of life.
    alive_at: Instant,
    /// The time of the last answer, at first of the start.
    answered_at: Instant,
    /// Whether it has ever answered.
    has_answered: bool,
    /// The time of the last event.
    last_event_at: Instant,
    progress: LoadProgress,
    health: Health,
    idle_since: Option<Instant>,
    /// When draining or stopping must be over.
    deadline: Option<Instant>,
    killed: bool,
    /// Whether its end was requested.
    requested: bool,
    fault: Option<Fault>,
}

/// Why a process ends without a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The model cannot be loaded.
    Broken,
    /// It answered, but loading made no progress.
    SlowStart,
    /// It had work and made no step, or did not answer.
    Hung,
}

impl Process {
    pub(crate) fn start(rules: Rules, now: Instant) -> Self {
        Self {
            rules,
            state: WorkerState::Starting,
            started_at: now,
            alive_at: now,
            answered_at: now,
            has_answered: false,
            last_event_at: now,
            progress: LoadProgress::default(),
            health: Health::default(),
            idle_since: None,
            deadline: None,
            killed: false,
            requested: false,
            fault: None,
        }
    }

    /// Applies an event. Returns the signal to send.
    pub(crate) fn handle(&mut self, event: Event, now: Instant) -> Option<Signal> {
        self.discount_gap(now);
        let ended = matches!(self.state, WorkerState::Stopped | WorkerState::Failed);
        match event {
            _ if ended => None,
            Event::Exited => {
                self.state = if self.requested { WorkerState::Stopped } else { WorkerState::Failed };
                None
            }
            Event::Stop => {
                self.requested |= self.fault.is_none();
                self.kill()
            }
            Event::Drain(grace) => self.drain(grace, now),
            Event::Tick => self.tick(now),
            Event::Progress(progress) => {
                (self.answered_at, self.has_answered) = (now, true);
                if progress.loaded > self.progress.loaded {
                    self.alive_at = now;
                }
                self.progress = progress;
                None
            }
            Event::Loaded => {
                if self.state == WorkerState::Starting {
                    self.state = WorkerState::Ready;
                    self.alive_at = now;
                    self.answered_at = now;
                    self.idle_since = Some(now);
                }
                None
            }
            Event::Broken if self.state == WorkerState::Starting => {
                self.end_with_fault(Fault::Broken, Signal::Terminate, now)
            }
            Event::Broken => None,
            Event::Health(health) => {
                self.record_health(health, now);
                None
            }
        }
    }

    /// A time in which the supervisor itself did not run counts as no silence.
    fn discount_gap(&mut self, now: Instant) {
        let gap = now.saturating_duration_since(self.last_event_at);
        if gap > LONGEST_GAP {
            self.alive_at += gap;
            self.answered_at += gap;
        }
        self.last_event_at = self.last_event_at.max(now);
    }

    fn record_health(&mut self, health: Health, now: Instant) {
        self.answered_at = now;
        let busy = health.running + health.waiting > 0;
        let stepped = health.steps != self.health.steps;
        if stepped || !busy {
            self.alive_at = now;
        }
        if busy {
            self.idle_since = None;
        } else if stepped || self.idle_since.is_none() {
            self.idle_since = Some(now);
        }
        self.health = health;
    }

    fn drain(&mut self, grace: Duration, now: Instant) -> Option<Signal> {
        let until = now + grace;
        match self.state {
            WorkerState::Ready => {
                self.state = WorkerState::Draining;
                self.requested = true;
                self.deadline = Some(until);
                Some(Signal::Terminate)
            }
            // It has no requests yet.
            WorkerState::Starting => {
                self.state = WorkerState::Stopping;
                self.requested = true;
                self.deadline = Some(now + grace.min(EXIT_LIMIT));
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
                let fault = self.start_fault(now)?;
                self.end_with_fault(fault, Signal::Abort, now)
            }
            WorkerState::Ready | WorkerState::Draining if self.is_hung(now) => {
                self.requested = false;
                self.end_with_fault(Fault::Hung, Signal::Abort, now)
            }
            WorkerState::Draining | WorkerState::Stopping
                if self.deadline.is_some_and(|deadline| now >= deadline) =>
            {
                self.kill()
            }
            _ => None,
        }
    }

    fn is_hung(&self, now: Instant) -> bool {
        let Rules { hang, step, .. } = self.rules;
        now.saturating_duration_since(self.answered_at) > hang
            || now.saturating_duration_since(self.alive_at) > hang + step
    }

    /// The fault of a start: silence, no progress, or too much time in all.
    fn start_fault(&self, now: Instant) -> Option<Fault> {
        let Rules { hang, reading, .. } = self.rules;
        let silence = if self.has_answered { hang } else { hang.max(FIRST_ANSWER) };
        if now.saturating_duration_since(self.answered_at) > silence {
            return Some(Fault::Hung);
        }
        let over = now.saturating_duration_since(self.alive_at) > hang.max(QUIET_START)
            || now.saturating_duration_since(self.started_at) > START_LIMIT + reading;
        over.then_some(Fault::SlowStart)
    }

    fn end_with_fault(&mut self, fault: Fault, signal: Signal, now: Instant) -> Option<Signal> {
        self.state = WorkerState::Stopping;
        self.fault = Some(fault);
        let grace = match fault {
            // It has reported the reason already.
            Fault::Broken => EXIT_LIMIT / 10,
            Fault::SlowStart | Fault::Hung => STACKS_LIMIT,
        };
        self.deadline = Some(now + grace);
        Some(signal)
    }

    fn kill(&mut self) -> Option<Signal> {
        self.state = WorkerState::Stopping;
        self.deadline = None;
        (!std::mem::replace(&mut self.killed, true)).then_some(Signal::Kill)
    }

    pub(crate) fn state(&self) -> WorkerState {
        self.state
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.state == WorkerState::Ready
    }

    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// Whether its end was requested, rather than caused by a fault.
    pub(crate) fn was_requested(&self) -> bool {
        self.requested
    }

    /// The last reported progress of loading.
    pub(crate) fn progress(&self) -> LoadProgress {
        self.progress
    }

    /// The last answer to a health check.
    pub(crate) fn health(&self) -> Health {
        self.health
    }

    /// How long it has been without work; `None` if it has work or is not ready.
    pub(crate) fn idle(&self, now: Instant) -> Option<Duration> {
        self.idle_since.map(|since| now.saturating_duration_since(since))
    }

    /// Time since its start.
    pub(crate) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.started_at)
    }

    /// Resets the idle timer: a caller was just handed this worker.
    pub(crate) fn touch(&mut self, now: Instant) {
        if self.idle_since.is_some() {
            self.idle_since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests;
