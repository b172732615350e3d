//! One request on its way through the workers: what another one needs to go on with it, should the one that has it be lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use ipc_proto::generate::{Event, GenerateRequest};
use ipc_proto::supervisor::{KeepAlive, Want};
use ipc_proto::{Error, ErrorKind, Result};

use super::Local;
use super::link::Link;
use super::spread::affinity;
use crate::backend::{Failover, PendingFailover, Queue, late};

/// The worker says so itself when time is up; the gateway says it where the worker does not.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request for a model on this machine.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Id or alias.
    pub model: String,
    /// What to generate.
    pub request: GenerateRequest,
    /// How long the model stays when it falls idle, where the request says.
    pub keep_alive: Option<KeepAlive>,
    /// Requests of one name go to the same worker, whose cache knows their beginning.
    pub affinity: Option<String>,
    /// Counts how often it was given to another worker.
    pub recoveries: Arc<AtomicU32>,
}

/// A request, and how far it is; clones share what was tried for it.
#[derive(Clone)]
pub(super) struct Attempt {
    local: Arc<Local>,
    ask: Ask,
    /// When it came.
    began: Instant,
    tried: Arc<Mutex<Tried>>,
}

/// What was tried for a request.
#[derive(Debug)]
struct Tried {
    /// Other workers that may still be tried.
    left: u32,
    /// The incarnation of the worker that took it last.
    taker: Option<u64>,
    /// Incarnations that refused it or lost it: it is not offered to them again while there may be others.
    excluded: Vec<u64>,
}

impl Attempt {
    /// A request that came just now. It gets a seed if it has none, so that every worker would make the same of it.
    pub(super) fn new(local: Arc<Local>, mut ask: Ask) -> Self {
        ask.request.sampling.seed.get_or_insert_with(|| uuid::Uuid::new_v4().as_u64_pair().0);
        let tried = Tried { left: local.recoveries, taker: None, excluded: Vec::new() };
        Self { local, ask, began: Instant::now(), tried: Arc::new(Mutex::new(tried)) }
    }

    /// Gives it to a worker, and to others where that refuses it or is lost before it took it.
    ///
    /// # Errors
    /// As [`Local::generate`]. Where no worker could be had it is final: another look would find the same, and sooner than
    /// anything could change.
    pub(super) async fn begin(&self) -> Result<Queue> {
        loop {
            let link = self.link().await?;
            let incarnation = link.incarnation();
            match self.offer(Arc::clone(&link)).await {
                Ok(queue) => {
                    self.tried().taker = Some(incarnation);
                    return Ok(queue);
                }
                Err(error) if error.kind == ErrorKind::Unavailable => {
                    link.retire();
                    if !self.spend(incarnation, &error) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A worker for it, one that may have to be started. Where a worker had taken it and was lost, the supervisor is told which:
    /// it knows whether that was taken away on purpose.
    async fn link(&self) -> Result<Arc<Link>> {
        let Ask { model, request, affinity: name, .. } = &self.ask;
        let (lost, excluded) = {
            let tried = self.tried();
            (tried.taker, tried.excluded.clone())
        };
        let want = Want { priority: request.priority, lost, ..Want::model(model) };
        self.local.link_for(&want, affinity(name.as_deref(), request), &excluded).await
    }

    /// Offers it to a worker, with the time that is left of its limit.
    async fn offer(&self, link: Arc<Link>) -> Result<Queue> {
        let mut request = self.ask.request.clone();
        let ready = self.began.elapsed();
        if let Some(limit) = &mut request.time_limit_ms {
            let left = limit.saturating_sub(u32::try_from(ready.as_millis()).unwrap_or(u32::MAX));
            if left == 0 {
                return Err(late());
            }
            *limit = left;
        }
        let queue = link.submit(request).await?;
        // After the request: a model that is not to stay at all would be gone before it.
        Arc::clone(&self.local).keep(self.ask.model.clone(), self.ask.keep_alive);
        Ok(queue)
    }

    /// Whether it may go to another worker after this one, which refused it or lost it.
    fn spend(&self, incarnation: u64, cause: &Error) -> bool {
        let Ask { model, request, recoveries, .. } = &self.ask;
        let (counters, generated) = (&self.local.counters, request.generated.len());
        let mut tried = self.tried();
        let Some(left) = tried.left.checked_sub(1) else {
            counters.given_up.fetch_add(1, Ordering::Relaxed);
            tracing::error!(model, incarnation, generated, %cause, "a request was lost too often: given up");
            return false;
        };
        tried.left = left;
        tried.excluded.push(incarnation);
        recoveries.fetch_add(1, Ordering::Relaxed);
        counters.recoveries.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(model, incarnation, generated, left, %cause, "a request goes to another worker");
        true
    }

    /// When it has run out of time, where it has a limit.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limit = self.ask.request.time_limit_ms?;
        Some(self.began + Duration::from_millis(limit.into()) + PATIENCE)
    }

    fn tried(&self) -> MutexGuard<'_, Tried> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failover for Attempt {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Delta(delta) => self.ask.request.generated.extend_from_slice(&delta.tokens),
            Event::Prompt { .. } => {
                // Told once is enough.
                if let Some(logprobs) = &mut self.ask.request.logprobs {
                    logprobs.prompt = false;
                }
            }
            Event::Finished { .. } | Event::Failed(_) => {}
        }
    }

    fn fail_over(&mut self, failure: &Error) -> Option<PendingFailover> {
        let taker = self.tried().taker?;
        if failure.kind != ErrorKind::Unavailable || !self.spend(taker, failure) {
            return None;
        }
        let (attempt, lost) = (self.clone(), Instant::now());
        let again = async move {
            let queue = attempt.begin().await?;
            tracing::info!(
                model = attempt.ask.model,
                generated = attempt.ask.request.generated.len(),
                after_ms = lost.elapsed().as_millis() as u64,
                "a request goes on"
            );
            Ok(queue)
        };
        Some(again.boxed())
    }
}
