//! One request on its way through the workers: what another one needs to go on with it, should the one that has it be lost.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt;
use ipc_proto::generate::{Choice, Event, Generation, Submission};
use ipc_proto::supervisor::{KeepAlive, Want};
use ipc_proto::{Disposition, Error, Result};

use super::Local;
use super::link::Link;
use super::spread::affinity;
use crate::backend::{Failover, PendingFailover, Queue, late};

/// The worker says so itself when time is up; the gateway says it where the worker does not.
const PATIENCE: Duration = Duration::from_secs(1);

/// A request for a model on this machine: one prompt, and one output or several.
#[derive(Debug, Clone, Default)]
pub struct Ask {
    /// Id or alias.
    pub model: String,
    /// The id of the client's request, for the logs.
    pub request_id: String,
    /// Requests of different scopes share no cached text.
    pub cache_scope: String,
    /// What to generate.
    pub generation: Generation,
    /// Outputs to generate; at least 1.
    pub choices: u32,
    /// How long the model stays when it falls idle, if the request says.
    pub keep_alive: Option<KeepAlive>,
    /// Requests of one name go to the same worker, whose cache knows their beginning.
    pub affinity: Option<String>,
    /// Counts how often it was given to another worker.
    pub recoveries: Arc<AtomicU32>,
}

/// The choices of a request that are with one worker, and what was tried for them. Clones share the latter.
#[derive(Clone)]
pub(super) struct Attempt {
    local: Arc<Local>,
    ask: Arc<Ask>,
    choices: Vec<Choice>,
    /// The client has the scores of the prompt already.
    has_prompt_scores: bool,
    /// The time of arrival.
    began: Instant,
    tried: Arc<Mutex<Tried>>,
}

#[derive(Debug, Clone)]
struct Tried {
    /// Other workers that may still be tried.
    left: u32,
    /// The incarnation of the worker that took it last.
    taker: Option<u64>,
    /// Incarnations that refused it or lost it: it is not offered to them again while there may be others.
    excluded: Vec<u64>,
}

impl Attempt {
    /// A request that arrived just now. Without a seed it gets one, so that every worker would generate the same.
    pub(super) fn new(local: Arc<Local>, mut ask: Ask) -> Self {
        ask.generation.sampling.seed.get_or_insert_with(|| uuid::Uuid::new_v4().as_u64_pair().0);
        let choices = (0..ask.choices).map(|index| Choice { index, ..Choice::default() }).collect();
        let tried = Tried { left: local.recoveries, taker: None, excluded: Vec::new() };
        Self {
            local,
            ask: Arc::new(ask),
            choices,
            has_prompt_scores: false,
            began: Instant::now(),
            tried: Arc::new(Mutex::new(tried)),
        }
    }

    /// One attempt for each choice. From here on each may be lost, and goes on, by itself.
    pub(super) fn split(self) -> impl Iterator<Item = Self> {
        let choices = self.choices.clone();
        choices.into_iter().map(move |choice| Self {
            choices: vec![choice],
            tried: Arc::new(Mutex::new(self.tried().clone())),
            ..self.clone()
        })
    }

    /// Gives the choices to a worker, and to others while workers refuse them or are lost before they take them.
    ///
    /// # Errors
    /// As [`Local::generate`]. An error of the search for a worker is final: another search would find the same, sooner than
    /// anything could change.
    pub(super) async fn begin(&self) -> Result<Vec<Queue>> {
        loop {
            let link = self.link().await?;
            let incarnation = link.incarnation();
            match self.offer(Arc::clone(&link)).await {
                Ok(queues) => {
                    self.tried().taker = Some(incarnation);
                    return Ok(queues);
                }
                Err(error) if error.disposition == Disposition::RetryElsewhere => {
                    link.retire();
                    if !self.spend(incarnation, &error) {
                        return Err(error);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A link to a worker, which may have to be started. The supervisor learns which worker was lost with the request: it knows
    /// whether that one was stopped on purpose.
    async fn link(&self) -> Result<Arc<Link>> {
        let Ask { model, cache_scope, generation, affinity: name, .. } = &*self.ask;
        let (lost, excluded) = {
            let tried = self.tried();
            (tried.taker, tried.excluded.clone())
        };
        let want = Want { priority: generation.priority, lost, ..Want::model(model) };
        let affinity = affinity(name.as_deref(), cache_scope, &generation.prompt);
        self.local.link_for(&want, affinity, &excluded).await
    }

    /// Offers the choices to a worker, with the rest of their time limit.
    async fn offer(&self, link: Arc<Link>) -> Result<Vec<Queue>> {
        let Ask { model, request_id, cache_scope, keep_alive, .. } = &*self.ask;
        let mut generation = self.ask.generation.clone();
        if let Some(limit) = &mut generation.time_limit_ms {
            let elapsed = u32::try_from(self.began.elapsed().as_millis()).unwrap_or(u32::MAX);
            *limit = limit.checked_sub(elapsed).filter(|left| *left > 0).ok_or_else(late)?;
        }
        if let Some(logprobs) = &mut generation.logprobs {
            logprobs.prompt &= !self.has_prompt_scores;
        }
        let (request_id, cache_scope) = (request_id.clone(), cache_scope.clone());
        let choices = self.choices.clone();
        let queues = link.submit(Submission { request_id, cache_scope, generation, choices }).await?;
        // After the request: a model that is not to stay at all would be gone before it.
        Arc::clone(&self.local).keep(model.clone(), *keep_alive);
        Ok(queues)
    }

    /// Tokens that a lost worker has generated.
    fn generated(&self) -> usize {
        self.choices.iter().map(|choice| choice.generated.len()).sum()
    }

    /// Whether it may go to another worker after this one, which refused it or lost it.
    fn spend(&self, incarnation: u64, cause: &Error) -> bool {
        let Ask { model, request_id, recoveries, .. } = &*self.ask;
        let (counters, generated) = (&self.local.counters, self.generated());
        let mut tried = self.tried();
        let Some(left) = tried.left.checked_sub(1) else {
            counters.given_up.fetch_add(1, Ordering::Relaxed);
            tracing::error!(request_id, model, incarnation, generated, %cause, "a request was lost too often: given up");
            return false;
        };
        tried.left = left;
        tried.excluded.push(incarnation);
        recoveries.fetch_add(1, Ordering::Relaxed);
        counters.recoveries.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(request_id, model, incarnation, generated, left, %cause, "a request goes to another worker");
        true
    }

    /// When it has run out of time, where it has a limit.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limit = self.ask.generation.time_limit_ms?;
        Some(self.began + Duration::from_millis(limit.into()) + PATIENCE)
    }

    fn tried(&self) -> MutexGuard<'_, Tried> {
        self.tried.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Failover for Attempt {
    fn note(&mut self, event: &Event) {
        match event {
            Event::Delta(delta) => {
                for choice in &mut self.choices {
                    choice.generated.extend_from_slice(&delta.tokens);
                }
            }
            Event::Prompt { .. } => self.has_prompt_scores = true,
            Event::Finished { .. } | Event::Failed(_) => {}
        }
    }

    fn fail_over(&mut self, failure: &Error) -> Option<PendingFailover> {
        let taker = self.tried().taker?;
        if failure.disposition != Disposition::RetryElsewhere || !self.spend(taker, failure) {
            return None;
        }
        let (attempt, lost) = (self.clone(), Instant::now());
        let again = async move {
            let queue = attempt.begin().await?.swap_remove(0);
            tracing::info!(
                request_id = attempt.ask.request_id,
                model = attempt.ask.model,
                generated = attempt.generated(),
                after_ms = lost.elapsed().as_millis() as u64,
                "a request goes on"
            );
            Ok(queue)
        };
        Some(again.boxed())
    }
}
