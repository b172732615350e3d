//! The threads that follow grammars: they consume sampled tokens and compute masks.
//!
//! There are two lanes. In the prompt one, a thread that was late leaves, because its priority is low then. The slow one is for
//! requests that were late before: its threads have a low priority from the start.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipc_proto::Error;

use super::super::runner::TokenMask;
use super::super::sequence::SequenceId;
use super::advance;
use crate::priority::{self, ThreadId};
use crate::text::grammar::Matcher;

/// The work for one request: consume a token, then compute the next mask.
pub(super) struct Job {
    sequence: SequenceId,
    matcher: Matcher,
    /// `None` once it is consumed, and for the first mask.
    token: Option<u32>,
    /// Time spent on it.
    spent: Duration,
}

impl Job {
    pub(super) fn new(sequence: SequenceId, matcher: Matcher, token: Option<u32>) -> Self {
        Self { sequence, matcher, token, spent: Duration::ZERO }
    }
}

/// A report of a thread.
pub(super) enum Report {
    /// A thread began to consume a token or to compute a mask.
    Began {
        sequence: SequenceId,
        thread: ThreadId,
        at: Instant,
    },
    /// The token is consumed. `outcome` says whether the output is complete.
    Consumed {
        sequence: SequenceId,
        outcome: Result<bool, Error>,
        took: Duration,
    },
    Ended(Ended),
}

/// The end of a job.
pub(super) struct Ended {
    pub(super) sequence: SequenceId,
    /// The matcher, and the mask or the reason why there is none. `None` if the output needs no further mask.
    pub(super) made: Option<(Matcher, Result<TokenMask, String>)>,
    /// Time of the whole job, without waiting.
    pub(super) took: Duration,
    /// The thread was late and takes no further jobs.
    pub(super) left: bool,
}

/// Jobs for the same threads.
#[derive(Default)]
pub(super) struct Lane {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    /// Come first: a step waits for them while nothing computes.
    tokens: VecDeque<Job>,
    masks: VecDeque<Job>,
    closed: bool,
}

impl Lane {
    pub(super) fn push(&self, job: Job) {
        let mut queue = self.lock();
        if job.token.is_some() {
            queue.tokens.push_back(job)
        } else {
            queue.masks.push_back(job)
        }
        self.changed.notify_one();
    }

    /// Removes the jobs of a request. Returns how many there were.
    pub(super) fn remove(&self, sequence: SequenceId) -> usize {
        let mut queue = self.lock();
        let before = queue.tokens.len() + queue.masks.len();
        queue.tokens.retain(|job| job.sequence != sequence);
        queue.masks.retain(|job| job.sequence != sequence);
        before - queue.tokens.len() - queue.masks.len()
    }

    /// Ends the threads.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Waits for a job. `None` once the lane is closed.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.closed {
                return None;
            }
            if let Some(job) = queue.tokens.pop_front() {
                return Some(job);
            }
            if let Some(job) = queue.masks.pop_front() {
                return Some(job);
            }
            queue = self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves the slow lane until it is closed.
pub(super) fn serve_slow(lane: &Lane, reports: &Sender<Report>) {
    priority::lower(priority::this_thread());
    serve(lane, reports, Duration::MAX);
}

/// Serves `lane` until it is closed, or work takes longer than `limit`.
pub(super) fn serve(lane: &Lane, reports: &Sender<Report>, limit: Duration) {
    while let Some(mut job) = lane.next() {
        let is_late;
        if let Some(token) = job.token.take() {
            let goes_on = consume(&mut job, token, reports);
            is_late = job.spent > limit;
            if !goes_on {
                end(job, None, is_late, reports);
            } else if !is_late {
                // The tokens of other requests come first.
                lane.push(job);
            } else {
                compute(job, limit, reports);
            }
        } else {
            is_late = compute(job, limit, reports);
        }
        if is_late {
            return;
        }
    }
}

/// Consumes a token. Returns whether a mask is needed next.
fn consume(job: &mut Job, token: u32, reports: &Sender<Report>) -> bool {
    let start = begin(job, reports);
    let outcome = advance(&mut job.matcher, token);
    let goes_on = matches!(outcome, Ok(false));
    job.spent = start.elapsed();
    send(reports, Report::Consumed { sequence: job.sequence, outcome, took: job.spent });
    goes_on
}

/// Computes a mask and ends the job. Returns whether the thread was late.
fn compute(mut job: Job, limit: Duration, reports: &Sender<Report>) -> bool {
    let start = begin(&job, reports);
    let mut mask = vec![0; job.matcher.words()];
    let mask = job.matcher.mask(&mut mask).map(|()| mask);
    let took = start.elapsed();
    let left = took.max(job.spent) > limit;
    job.spent += took;
    end(job, Some(mask), left, reports);
    left
}

fn begin(job: &Job, reports: &Sender<Report>) -> Instant {
    let at = Instant::now();
    send(reports, Report::Began { sequence: job.sequence, thread: priority::this_thread(), at });
    at
}

fn end(job: Job, mask: Option<Result<TokenMask, String>>, left: bool, reports: &Sender<Report>) {
    let Job { sequence, matcher, spent: took, .. } = job;
    send(reports, Report::Ended(Ended { sequence, made: mask.map(|mask| (matcher, mask)), took, left }));
}

fn send(reports: &Sender<Report>, report: Report) {
    // Without a receiver the engine has ended, and the lanes are closed.
    reports.send(report).ok();
}
