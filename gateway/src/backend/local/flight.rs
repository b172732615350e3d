//! One request on its way through the workers: what another one needs to go on with it, should the one that has it be lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt;
use ipc_proto::generate::{Event, GenerateRequest};
use ipc_proto::supervisor::{KeepAlive, Want};
use ipc_proto::{Error, ErrorKind, Result, Source};

use super::Local;
use super::spread::affinity;
use crate::backend::{Queue, Rescue, Rescuing, late};

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

/// A request, and how far it is.
pub(super) struct Flight {
    local: Arc<Local>,
    ask: Ask,
    /// When it came.
    began: Instant,
    /// Other workers that may still be tried.
    left: u32,
    /// The incarnation of the worker that took it last; 0 before any has.
    taker: Arc<AtomicU64>,
}

impl Flight {
    /// A request that came just now. It gets a seed if it has none, so that every worker would make the same of it.
    pub(super) fn new(local: Arc<Local>, mut ask: Ask) -> Self {
        ask.request.sampling.seed.get_or_insert_with(|| uuid::Uuid::new_v4().as_u64_pair().0);
        let left = local.recoveries;
        Self { local, ask, began: Instant::now(), left, taker: Arc::default() }
    }

    /// Gives it to a worker, and to others where that is lost before it took it.
    ///
    /// # Errors
    /// As [`Local::generate`].
    pub(super) async fn begin(&mut self) -> Result<Queue> {
        let mut begun = self.offer().await;
        while let Err(error) = &begun {
            match self.rescue(error) {
                Some(rescuing) => begun = rescuing.await,
                None => break,
            }
        }
        begun
    }

    /// Offers it to a worker, one that may have to be started. Where a worker had taken it and was lost, the supervisor is told
    /// which: it knows whether that was taken away on purpose.
    fn offer(&self) -> impl Future<Output = Result<Queue>> + Send + use<> {
        let (local, ask, began) = (Arc::clone(&self.local), self.ask.clone(), self.began);
        let taker = Arc::clone(&self.taker);
        async move {
            let lost = Some(taker.load(Ordering::Relaxed)).filter(|lost| *lost > 0);
            let (queue, incarnation) = offer(local, ask, began, lost).await?;
            taker.store(incarnation, Ordering::Relaxed);
            Ok(queue)
        }
    }

    /// When it has run out of time, where it has a limit.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let limit = self.ask.request.time_limit_ms?;
        Some(self.began + Duration::from_millis(limit.into()) + PATIENCE)
    }
}

/// Offers a request to a worker of its model, with the time that is left of its limit; returns who took it.
async fn offer(local: Arc<Local>, ask: Ask, began: Instant, lost: Option<u64>) -> Result<(Queue, u64)> {
    let Ask { model, mut request, keep_alive, affinity: name, .. } = ask;
    let want = Want { priority: request.priority, lost, ..Want::model(&model) };
    let link = local.link_for(&want, affinity(name.as_deref(), &request)).await?;
    let ready = began.elapsed();
    if let Some(limit) = &mut request.time_limit_ms {
        let left = limit.saturating_sub(u32::try_from(ready.as_millis()).unwrap_or(u32::MAX));
        if left == 0 {
            return Err(late());
        }
        *limit = left;
    }
    let queue = Arc::clone(&link).submit(request).await;
    match &queue {
        // After the request: a model that is not to stay at all would be gone before it.
        Ok(_) => local.keep(model, keep_alive),
        Err(error) if error.kind == ErrorKind::Unavailable => link.retire(),
        Err(_) => {}
    }
    Ok((queue?, link.incarnation()))
}

impl Rescue for Flight {
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

    fn rescue(&mut self, failure: &Error) -> Option<Rescuing> {
        let Ask { model, request, recoveries, .. } = &self.ask;
        // The supervisor has tried already what can be tried.
        if failure.kind != ErrorKind::Unavailable || failure.origin == Source::Supervisor {
            return None;
        }
        let generated = request.generated.len();
        let Some(left) = self.left.checked_sub(1) else {
            self.local.counters.given_up.fetch_add(1, Ordering::Relaxed);
            tracing::error!(model, generated, cause = %failure, "a request was lost too often: given up");
            return None;
        };
        self.left = left;
        recoveries.fetch_add(1, Ordering::Relaxed);
        self.local.counters.recoveries.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(model, generated, left, cause = %failure, "a request goes to another worker");
        let (model, offer, lost) = (model.clone(), self.offer(), Instant::now());
        let again = async move {
            let queue = offer.await?;
            tracing::info!(
                model,
                generated,
                after_ms = lost.elapsed().as_millis() as u64,
                "a request goes on"
            );
            Ok(queue)
        };
        Some(again.boxed())
    }
}
