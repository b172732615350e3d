//! Computes the masks of constrained rows on threads of their own, beside the step that everybody shares.
//!
//! A step waits briefly for its masks. A row whose mask is late sits the step out, and a request whose masks take too long fails.
//! So no grammar slows other requests much.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::runner::TokenMask;
use super::sequence::SequenceId;
use crate::priority::{self, ThreadId};
use crate::text::grammar::{Cancel, Matcher};

/// Threads, at most. One is enough unless masks are late.
const MAX_THREADS: usize = 8;
/// After a late mask no step waits for so many further ones of the request.
const DISTRUST: u8 = 8;

/// How long masks may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MaskLimits {
    /// Time that a step waits for masks. A row whose mask is later sits the step out.
    pub step: Duration,
    /// Time of one mask. A request that needs more fails.
    pub mask: Duration,
    /// Time of all late masks of a request. One that needs more fails.
    pub late: Duration,
}

impl Default for MaskLimits {
    fn default() -> Self {
        Self { step: Duration::from_millis(20), mask: Duration::from_secs(5), late: Duration::from_secs(20) }
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

struct Job {
    sequence: SequenceId,
    matcher: Matcher,
}

/// What a thread reports.
enum Report {
    Began { sequence: SequenceId, thread: ThreadId, at: Instant },
    Ended { job: Job, mask: Result<TokenMask, String>, took: Duration },
}

/// The masks of one request.
struct Progress {
    state: State,
    /// Time of its late masks so far.
    late: Duration,
    /// The number of next masks for which no step waits.
    distrust: u8,
}

enum State {
    Waiting(Cancel),
    Computing {
        cancel: Cancel,
        thread: ThreadId,
        since: Instant,
        lowered: bool,
    },
    Ready(Matcher, Result<TokenMask, String>),
    /// The engine has the matcher.
    Taken,
}

/// The threads, and the requests whose masks they compute. Belongs to the engine's thread.
pub(super) struct Masks {
    limits: MaskLimits,
    jobs: Sender<Job>,
    queue: Arc<Mutex<Receiver<Job>>>,
    reports: (Sender<Report>, Receiver<Report>),
    requests: HashMap<SequenceId, Progress>,
    /// Threads that take further jobs.
    threads: usize,
    /// Jobs that have not ended, those of forgotten requests included.
    outstanding: usize,
}

impl Masks {
    pub(super) fn new(limits: MaskLimits) -> Self {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        Self { limits, jobs, queue, reports: channel(), requests: HashMap::new(), threads: 0, outstanding: 0 }
    }

    /// Begins to compute the mask of the next token. Returns whether a step may wait for it: not if it is likely to be late.
    pub(super) fn start(&mut self, sequence: SequenceId, matcher: Matcher) -> bool {
        if self.threads == 0 {
            self.add_thread();
        }
        let cancel = matcher.cancel();
        let progress = self.requests.entry(sequence).or_insert(Progress {
            state: State::Taken,
            late: Duration::ZERO,
            distrust: 0,
        });
        progress.state = State::Waiting(cancel);
        let is_trusted = progress.distrust == 0;
        // The queue lives as long as `self`.
        self.outstanding += usize::from(self.jobs.send(Job { sequence, matcher }).is_ok());
        is_trusted
    }

    /// Whether masks are being computed.
    pub(super) fn is_busy(&self) -> bool {
        self.outstanding > 0
    }

    /// Waits until the masks of `rows` are there, for as long as a step may wait.
    pub(super) fn wait_for(&mut self, rows: &[SequenceId]) {
        let deadline = Instant::now() + self.limits.step;
        while rows.iter().any(|row| self.is_missing(*row)) {
            if !self.receive(deadline) {
                return self.relieve();
            }
        }
    }

    /// Waits for any report, for as long as a step may wait.
    pub(super) fn wait(&mut self) {
        if !self.receive(Instant::now() + self.limits.step) {
            self.relieve();
        }
    }

    /// Takes in what the threads have reported. Returns the requests whose masks take too long: their masks are cancelled.
    pub(super) fn update(&mut self) -> Vec<SequenceId> {
        while self.receive(Instant::now()) {}
        self.relieve();
        let MaskLimits { mask, late, .. } = self.limits;
        let hopeless = self.requests.iter().filter(|(_, progress)| match &progress.state {
            State::Computing { since, .. } => since.elapsed() > mask.min(late.saturating_sub(progress.late)),
            _ => false,
        });
        hopeless.map(|(sequence, _)| *sequence).collect()
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
        let state = self.requests.remove(&sequence).map(|progress| progress.state);
        if let Some(State::Waiting(cancel) | State::Computing { cancel, .. }) = state {
            cancel.cancel();
        }
    }

    fn is_missing(&self, sequence: SequenceId) -> bool {
        let state = self.requests.get(&sequence).map(|progress| &progress.state);
        matches!(state, Some(State::Waiting(_) | State::Computing { .. }))
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
            Ok(Report::Began { sequence, thread, at }) => self.begin(sequence, thread, at),
            Ok(Report::Ended { job, mask, took }) => self.end(job, mask, took),
            Err(_) => return false,
        }
        true
    }

    fn begin(&mut self, sequence: SequenceId, thread: ThreadId, since: Instant) {
        let Some(progress) = self.requests.get_mut(&sequence) else { return };
        if let State::Waiting(cancel) = &progress.state {
            let cancel = cancel.clone();
            progress.state = State::Computing { cancel, thread, since, lowered: false };
        }
    }

    fn end(&mut self, job: Job, mask: Result<TokenMask, String>, took: Duration) {
        self.outstanding -= 1;
        let is_late = took > self.limits.step;
        if is_late {
            // Its thread has ended.
            self.threads -= 1;
            if self.threads == 0 && self.outstanding > 0 {
                self.add_thread();
            }
        }
        if let Some(progress) = self.requests.get_mut(&job.sequence) {
            if is_late {
                progress.late += took;
                progress.distrust = DISTRUST;
            } else {
                progress.distrust = progress.distrust.saturating_sub(1);
            }
            progress.state = State::Ready(job.matcher, mask);
        }
    }

    /// Lowers the priority of threads whose mask is late, and adds one for the others.
    fn relieve(&mut self) {
        let limit = self.limits.step;
        for progress in self.requests.values_mut() {
            if let State::Computing { thread, since, lowered, .. } = &mut progress.state
                && !*lowered
                && since.elapsed() > limit
            {
                *lowered = true;
                priority::lower(*thread);
                tracing::debug!("the mask of a request is late; its row sits the step out");
            }
        }
        // Each thread that serves others is held up.
        let waiting = self.requests.values().any(|progress| matches!(progress.state, State::Waiting(_)));
        let held_up = |progress: &&Progress| matches!(progress.state, State::Computing { lowered: true, .. });
        let held_up = self.requests.values().filter(held_up).count();
        if waiting && held_up >= self.threads && self.threads < MAX_THREADS {
            self.add_thread();
        }
    }

    fn add_thread(&mut self) {
        let (queue, reports, limit) = (Arc::clone(&self.queue), self.reports.0.clone(), self.limits.step);
        let thread = std::thread::Builder::new().name("masks".into());
        match thread.spawn(move || serve(&queue, &reports, limit)) {
            Ok(_) => self.threads += 1,
            Err(error) => tracing::error!(%error, "no thread for masks"),
        }
    }
}

impl std::fmt::Debug for Masks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { threads, outstanding, .. } = self;
        f.debug_struct("Masks")
            .field("threads", threads)
            .field("outstanding", outstanding)
            .finish_non_exhaustive()
    }
}

/// Computes masks until the engine ends, or one takes longer than `limit`: its thread has a low priority then.
fn serve(queue: &Mutex<Receiver<Job>>, reports: &Sender<Report>, limit: Duration) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(Job { sequence, mut matcher }) = job else { return };
        let at = Instant::now();
        if reports.send(Report::Began { sequence, thread: priority::this_thread(), at }).is_err() {
            return;
        }
        let mut mask = vec![0; matcher.words()];
        let mask = matcher.mask(&mut mask).map(|()| mask);
        let took = at.elapsed();
        let ended = Report::Ended { job: Job { sequence, matcher }, mask, took };
        if reports.send(ended).is_err() || took > limit {
            return;
        }
    }
}
