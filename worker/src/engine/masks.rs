//! Follows the grammars of constrained rows on threads of their own, beside the step that everybody shares.
//!
//! A thread consumes the sampled token, then computes the mask of the next one. A step waits briefly for both. A row that is
//! late sits the step out, and a request that takes too long fails. So no grammar slows other requests much.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use ipc_proto::{Error, ErrorKind, Origin};

use super::runner::TokenMask;
use super::sequence::SequenceId;
use crate::priority::{self, ThreadId};
use crate::text::grammar::{Cancel, Matcher};

mod threads;

use threads::{Ended, Job, Lane, Report};

/// Threads of a lane, at most. One is enough unless work is late.
const MAX_THREADS: usize = 8;
/// After a late token no step waits for so many further ones of the request.
const DISTRUST: u8 = 8;

/// How long grammars may take. Their work for one token is to consume it and to compute the next mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskLimits {
    /// Time that a step waits in all. A row whose mask is later sits the step out.
    pub step: Duration,
    /// Time that a step waits until the sampled tokens are consumed. The model computes nothing meanwhile.
    pub token: Duration,
    /// Time of the work for one token. A request that needs more fails.
    pub mask: Duration,
    /// Time of the work for all late tokens of a request. One that needs more fails.
    pub late: Duration,
    /// As `late`, with the time of waiting for a thread.
    pub total: Duration,
}

impl Default for MaskLimits {
    fn default() -> Self {
        Self {
            step: Duration::from_millis(20),
            token: Duration::from_millis(10),
            mask: Duration::from_secs(5),
            late: Duration::from_secs(20),
            total: Duration::from_secs(40),
        }
    }
}

/// The mask of a row that samples in this step.
#[derive(Debug)]
pub(super) enum Mask {
    /// The request has no constraint.
    None,
    /// The row sits the step out.
    Late,
    /// The mask, or the reason why there is none, and the matcher for the next one.
    Ready(Matcher, Result<TokenMask, String>),
}

/// A consumed token: whether the output is complete.
pub(super) type Consumed = (SequenceId, Result<bool, Error>);

/// The work for one request.
struct Progress {
    state: State,
    /// Its token is not consumed.
    unread: bool,
    /// The beginning of the work for this token.
    asked: Instant,
    /// Time spent on this token, before the present part of the work.
    spent: Duration,
    /// Consuming the token took longer than a step waits.
    slow_token: bool,
    /// Time spent on late tokens so far, and with waiting.
    late: Duration,
    total: Duration,
    /// The number of next tokens for which no step waits.
    distrust: u8,
}

enum State {
    /// No thread has it at present.
    Waiting(Cancel),
    Working {
        cancel: Cancel,
        thread: ThreadId,
        since: Instant,
        lowered: bool,
    },
    Ready(Matcher, Result<TokenMask, String>),
    /// The engine has the matcher, or none is needed any more.
    Taken,
}

/// The threads, and the requests for which they work. Belongs to the engine's thread.
pub(super) struct Masks {
    limits: MaskLimits,
    prompt: Arc<Lane>,
    /// For requests that were late.
    slow: Arc<Lane>,
    reports: (Sender<Report>, Receiver<Report>),
    requests: HashMap<SequenceId, Progress>,
    /// Requests that have ended while a thread of the prompt lane worked for them, until it notices.
    abandoned: HashSet<SequenceId>,
    consumed: Vec<Consumed>,
    /// Threads of the prompt lane that take further jobs.
    threads: usize,
    slow_threads: usize,
    /// Jobs that have not ended, those of forgotten requests included.
    outstanding: usize,
    /// Time that this step may still wait.
    patience: Duration,
}

impl Masks {
    pub(super) fn new(limits: MaskLimits) -> Self {
        Self {
            limits,
            prompt: Arc::default(),
            slow: Arc::default(),
            reports: channel(),
            requests: HashMap::new(),
            abandoned: HashSet::new(),
            consumed: Vec::new(),
            threads: 0,
            slow_threads: 0,
            outstanding: 0,
            patience: limits.step,
        }
    }

    /// Begins to compute the first mask of a request.
    pub(super) fn start(&mut self, sequence: SequenceId, matcher: Matcher) {
        self.queue(sequence, matcher, None);
    }

    /// Begins to consume a token and to compute the mask of the next one. Returns whether a step may wait: not if the work is
    /// likely to be late.
    pub(super) fn consume(&mut self, sequence: SequenceId, matcher: Matcher, token: u32) -> bool {
        self.queue(sequence, matcher, Some(token))
    }

    fn queue(&mut self, sequence: SequenceId, matcher: Matcher, token: Option<u32>) -> bool {
        let (asked, state) = (Instant::now(), State::Waiting(matcher.cancel()));
        let progress = self.requests.entry(sequence).or_insert_with(|| Progress::new(asked));
        let (unread, spent, slow_token) = (token.is_some(), Duration::ZERO, false);
        let Progress { late, total, distrust, .. } = *progress;
        *progress = Progress { state, unread, asked, spent, slow_token, late, total, distrust };
        let is_trusted = distrust == 0;
        self.outstanding += 1;
        let job = Job::new(sequence, matcher, token);
        if is_trusted {
            self.prompt.push(job);
            if self.threads == 0 {
                self.add_thread();
            }
        } else {
            self.slow.push(job);
            let distrusted = self.requests.values().filter(|progress| progress.distrust > 0).count();
            if self.slow_threads < distrusted.min(MAX_THREADS) {
                self.add_slow_thread();
            }
        }
        is_trusted
    }

    /// Whether work is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.outstanding > 0
    }

    /// Gives the next step its time to wait.
    pub(super) fn begin_step(&mut self) {
        self.patience = self.limits.step;
    }

    /// Waits until the tokens of `rows` are consumed, for as long as a step may wait.
    pub(super) fn wait_for_tokens(&mut self, rows: &[SequenceId]) {
        self.wait_while(rows, self.limits.token, |progress| progress.unread);
    }

    /// Waits until the masks of `rows` are there, for as long as a step may wait.
    pub(super) fn wait_for_masks(&mut self, rows: &[SequenceId]) {
        self.wait_while(rows, self.limits.step, |progress| progress.state.is_missing());
    }

    fn wait_while(&mut self, rows: &[SequenceId], most: Duration, waits: fn(&Progress) -> bool) {
        let start = Instant::now();
        let deadline = start + most.min(self.patience);
        while rows.iter().any(|row| self.requests.get(row).is_some_and(waits)) {
            if !self.receive(deadline) {
                self.relieve();
                break;
            }
        }
        self.patience = self.patience.saturating_sub(start.elapsed());
    }

    /// Waits for any report, for as long as a step may wait.
    pub(super) fn wait(&mut self) {
        if !self.receive(Instant::now() + self.limits.step) {
            self.relieve();
        }
    }

    /// Takes in the threads' reports. Returns the requests that take too long.
    pub(super) fn update(&mut self) -> Vec<SequenceId> {
        while self.receive(Instant::now()) {}
        self.relieve();
        let hopeless = self.requests.iter().filter(|(_, progress)| progress.is_hopeless(&self.limits));
        hopeless.map(|(sequence, _)| *sequence).collect()
    }

    /// The tokens that have been consumed, each once.
    pub(super) fn take_consumed(&mut self) -> Vec<Consumed> {
        std::mem::take(&mut self.consumed)
    }

    /// The requests whose masks are there.
    pub(super) fn ready(&self) -> impl Iterator<Item = SequenceId> {
        let ready = self.requests.iter().filter(|(_, progress)| matches!(progress.state, State::Ready(..)));
        ready.map(|(sequence, _)| *sequence)
    }

    /// The mask of this row.
    pub(super) fn take(&mut self, sequence: SequenceId) -> Mask {
        let Some(progress) = self.requests.get_mut(&sequence) else { return Mask::None };
        match std::mem::replace(&mut progress.state, State::Taken) {
            State::Ready(matcher, mask) => Mask::Ready(matcher, mask),
            State::Taken => Mask::None,
            late => {
                progress.state = late;
                Mask::Late
            }
        }
    }

    /// Drops what belongs to a request that has ended.
    pub(super) fn forget(&mut self, sequence: SequenceId) {
        let Some(Progress { state, distrust, .. }) = self.requests.remove(&sequence) else { return };
        if let State::Waiting(cancel) | State::Working { cancel, .. } = state {
            cancel.cancel();
            let waiting = self.prompt.remove(sequence) + self.slow.remove(sequence);
            self.outstanding -= waiting;
            if waiting == 0 && distrust == 0 {
                self.abandoned.insert(sequence);
            }
        }
    }

    /// Takes in one report. Returns false if none comes by `deadline`.
    fn receive(&mut self, deadline: Instant) -> bool {
        let left = deadline.saturating_duration_since(Instant::now());
        let report = if left.is_zero() {
            self.reports.1.try_recv().map_err(|_| RecvTimeoutError::Timeout)
        } else {
            self.reports.1.recv_timeout(left)
        };
        match report {
            Ok(Report::Began { sequence, thread, at }) => self.began(sequence, thread, at),
            Ok(Report::Consumed { sequence, outcome, took }) => self.read(sequence, outcome, took),
            Ok(Report::Ended(ended)) => self.ended(ended),
            Err(_) => return false,
        }
        true
    }

    fn began(&mut self, sequence: SequenceId, thread: ThreadId, since: Instant) {
        let Some(progress) = self.requests.get_mut(&sequence) else { return };
        if let State::Waiting(cancel) = &progress.state {
            let cancel = cancel.clone();
            progress.state = State::Working { cancel, thread, since, lowered: progress.distrust > 0 };
        }
    }

    fn read(&mut self, sequence: SequenceId, outcome: Result<bool, Error>, took: Duration) {
        let Some(progress) = self.requests.get_mut(&sequence) else { return };
        progress.unread = false;
        progress.spent = took;
        progress.slow_token = took > self.limits.token;
        if let State::Working { cancel, .. } = &progress.state {
            progress.state = State::Waiting(cancel.clone());
        }
        self.consumed.push((sequence, outcome));
    }

    fn ended(&mut self, Ended { sequence, made, took, left }: Ended) {
        self.outstanding -= 1;
        self.abandoned.remove(&sequence);
        if left {
            self.threads -= 1;
            if self.threads == 0 && self.outstanding > 0 {
                self.add_thread();
            }
        }
        let Some(progress) = self.requests.get_mut(&sequence) else { return };
        if progress.slow_token || took > self.limits.step {
            progress.late += took;
            progress.total += progress.asked.elapsed();
            progress.distrust = DISTRUST;
        } else {
            progress.distrust = progress.distrust.saturating_sub(1);
        }
        progress.state = made.map_or(State::Taken, |(matcher, mask)| State::Ready(matcher, mask));
    }

    /// Lowers the priority of threads that are late, and adds one for the others.
    fn relieve(&mut self) {
        let limit = self.limits.step;
        for progress in self.requests.values_mut() {
            if let State::Working { thread, since, lowered, .. } = &mut progress.state
                && !*lowered
                && since.elapsed() > limit
            {
                *lowered = true;
                priority::lower(*thread);
                tracing::debug!("the mask of a request is late; its row sits the step out");
            }
        }
        // Each thread that serves others is held up.
        let trusted = || self.requests.values().filter(|progress| progress.distrust == 0);
        let waiting = trusted().any(|progress| matches!(progress.state, State::Waiting(_)));
        let held_up =
            trusted().filter(|progress| matches!(progress.state, State::Working { lowered: true, .. }));
        let held_up = held_up.count() + self.abandoned.len();
        if waiting && held_up >= self.threads && self.threads < MAX_THREADS {
            self.add_thread();
        }
    }

    fn add_thread(&mut self) {
        let (lane, reports, limit) = (Arc::clone(&self.prompt), self.reports.0.clone(), self.limits.step);
        self.threads += spawn(move || threads::serve(&lane, &reports, limit));
    }

    fn add_slow_thread(&mut self) {
        let (lane, reports) = (Arc::clone(&self.slow), self.reports.0.clone());
        self.slow_threads += spawn(move || threads::serve_slow(&lane, &reports));
    }
}

/// Starts a thread. Returns how many it started.
fn spawn(work: impl FnOnce() + Send + 'static) -> usize {
    let spawned = std::thread::Builder::new().name("masks".into()).spawn(work);
    usize::from(spawned.inspect_err(|error| tracing::error!(%error, "no thread for masks")).is_ok())
}

impl Progress {
    fn new(asked: Instant) -> Self {
        Self {
            state: State::Taken,
            unread: false,
            asked,
            spent: Duration::ZERO,
            slow_token: false,
            late: Duration::ZERO,
            total: Duration::ZERO,
            distrust: 0,
        }
    }

    fn is_hopeless(&self, limits: &MaskLimits) -> bool {
        let spent = match &self.state {
            State::Working { since, .. } => self.spent + since.elapsed(),
            State::Waiting(_) => self.spent,
            State::Ready(..) | State::Taken => return false,
        };
        spent > limits.mask.min(limits.late.saturating_sub(self.late))
            || self.asked.elapsed() > limits.total.saturating_sub(self.total)
    }
}

impl State {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Waiting(_) | Self::Working { .. })
    }
}

/// The threads end.
impl Drop for Masks {
    fn drop(&mut self) {
        self.prompt.close();
        self.slow.close();
    }
}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { threads, slow_threads, outstanding, .. } = self;
        f.debug_struct("Masks")
            .field("threads", threads)
            .field("slow_threads", slow_threads)
            .field("outstanding", outstanding)
            .finish_non_exhaustive()
    }
}

/// Advances a constraint by `token`. Returns whether the output is complete.
///
/// # Errors
/// When the grammar cannot be followed, or does not allow the token.
pub fn advance(matcher: &mut Matcher, token: u32) -> Result<bool, Error> {
    if let Err(problem) = matcher.push(token) {
        if matcher.is_broken() {
            return Err(unusable(&problem));
        }
        let text = format!("the constraint cannot go on: {problem}");
        return Err(Error::new(ErrorKind::Internal, Origin::Worker, text));
    }
    Ok(matcher.is_complete())
}

/// The error of a request whose grammar cannot be followed.
pub(super) fn unusable(problem: &str) -> Error {
    let text = format!("the grammar or schema cannot be used: {problem}");
    Error::new(ErrorKind::InvalidRequest, Origin::Client, text)
}
