//! One download of the queue.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_proto::hub::{Download, DownloadState};
use tokio::task::JoinHandle;

use super::file::Stored;
use super::meter::{Meter, Reading};
use super::plan::Candidate;
use crate::error::HubError;
use crate::pull::Pulled;

/// After a failure that may pass, a download tries again this much later.
const RETRY: Duration = Duration::from_secs(60);

/// A download.
pub(super) struct Entry {
    pub(super) stored: Stored,
    pub(super) job: Option<Job>,
    /// When it failed. `None` after a restart.
    failed_at: Option<Instant>,
    /// Before that it does not try again.
    retry_at: Option<Instant>,
}

/// The task that downloads.
pub(super) struct Job {
    /// Tells this task from earlier ones of the same download.
    pub(super) number: u64,
    pub(super) meter: Arc<Meter>,
    pub(super) task: JoinHandle<()>,
}

impl Entry {
    pub(super) fn new(stored: Stored) -> Self {
        Self { stored, job: None, failed_at: None, retry_at: None }
    }

    /// As others see it.
    pub(super) fn view(&self, now: Instant) -> Download {
        let Stored { id, model, revision, state, priority, error, created_at, .. } = self.stored.clone();
        let reading = self.job.as_ref().map(|job| job.meter.read(now));
        let (done, total) = match &reading {
            Some(Reading { total: Some(total), done, .. }) => (*done, Some(*total)),
            _ => (self.stored.bytes_done, self.stored.bytes_total),
        };
        let per_second = reading.as_ref().map_or(0, |reading| reading.per_second);
        let left = total.map(|total| total.saturating_sub(done));
        let wait = self.retry_at.map(|at| at.saturating_duration_since(now).as_secs());
        Download {
            id,
            model,
            revision,
            state: if reading.is_some() { DownloadState::Running } else { state },
            bytes_done: done,
            bytes_total: total,
            bytes_per_second: per_second,
            seconds_left: left.and_then(|left| left.checked_div(per_second)),
            priority,
            error,
            note: match reading {
                Some(reading) => reading.note,
                None => wait.map(|seconds| format!("it tries again in {seconds} s")),
            },
            created_at,
        }
    }

    /// As the choice of those that run sees it.
    pub(super) fn candidate(&self, now: Instant) -> Candidate {
        let is_due = self.retry_at.is_none_or(|at| at <= now);
        Candidate {
            wants: self.stored.state == DownloadState::Queued && is_due,
            priority: self.stored.priority,
            is_held_up: self.job.as_ref().is_some_and(|job| job.meter.read(now).is_held_up),
        }
    }

    /// Lets it run when it is its turn.
    pub(super) fn queue(&mut self) {
        self.stored.state = DownloadState::Queued;
        self.stored.error = None;
        (self.failed_at, self.retry_at) = (None, None);
    }

    /// Lets it wait for an order.
    pub(super) fn pause(&mut self) {
        self.stored.state = DownloadState::Paused;
        self.retry_at = None;
    }

    /// Whether it has just failed. Another try would most probably fail as well.
    pub(super) fn has_just_failed(&self, now: Instant) -> bool {
        self.stored.state == DownloadState::Failed
            && self.failed_at.is_some_and(|at| now.saturating_duration_since(at) < RETRY)
    }

    /// Whether something of it may be on disk that is no model.
    pub(super) fn is_unfinished(&self) -> bool {
        self.stored.state != DownloadState::Done
    }

    /// The model's name in the cache.
    pub(super) fn cached_as(&self) -> &str {
        self.stored.present_name.as_deref().unwrap_or(&self.stored.model)
    }

    /// Ends its task, and waits for that.
    pub(super) async fn stop(&mut self) {
        self.take_numbers();
        if let Some(job) = self.job.take() {
            job.task.abort();
            // An error says that it was ended.
            let _ = job.task.await;
        }
    }

    /// Its task has ended by itself.
    pub(super) fn end(&mut self, outcome: Result<Pulled, HubError>, now: Instant) {
        self.take_numbers();
        self.job = None;
        match outcome {
            Ok(pulled) => {
                self.stored.state = DownloadState::Done;
                self.stored.error = None;
                (self.stored.bytes_done, self.stored.bytes_total) = (pulled.bytes, Some(pulled.bytes));
                self.stored.present_name = Some(pulled.id);
            }
            Err(error) => {
                self.stored.error = Some(error.to_string());
                if error.may_pass() {
                    self.retry_at = Some(now + RETRY);
                } else {
                    self.stored.state = DownloadState::Failed;
                    self.failed_at = Some(now);
                }
            }
        }
    }

    /// Takes the numbers of its task over.
    pub(super) fn take_numbers(&mut self) {
        let Some(job) = &self.job else { return };
        let reading = job.meter.read(Instant::now());
        if reading.total.is_some() {
            (self.stored.bytes_done, self.stored.bytes_total) = (reading.done, reading.total);
            self.stored.present_name = reading.present_name;
        }
    }
}
