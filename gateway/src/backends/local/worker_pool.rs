//! The workers of one model that the gateway knows, and its links to them.

use std::sync::{Arc, Mutex, PoisonError};

use ipc_proto::Result;
use ipc_proto::generate::Prompt;
use ipc_proto::supervisor::{KeepAlive, WorkerAddress};

use crate::backends::local::balance::{Candidate, choose};
use crate::backends::local::fits;
use crate::backends::local::link::Link;

/// The addresses of a model's workers, and the links to them.
pub(super) struct WorkerPool {
    /// The model's id.
    id: Arc<str>,
    /// The addresses that the supervisor has sent last.
    known: Mutex<Vec<WorkerAddress>>,
    /// The lock makes simultaneous requests share one connection attempt.
    links: tokio::sync::Mutex<Vec<Arc<Link>>>,
    /// The last keep-alive sent to the supervisor. `None` before the first: an earlier gateway may have sent one.
    keep_alive: Mutex<Option<KeepAlive>>,
}

impl WorkerPool {
    /// The pool of the model `id`, of which no worker is known yet.
    pub(super) fn new(id: &str) -> Self {
        Self {
            id: id.into(),
            known: Mutex::default(),
            links: tokio::sync::Mutex::default(),
            keep_alive: Mutex::default(),
        }
    }

    /// The model's id.
    pub(super) fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Replaces the addresses of the workers that take requests.
    pub(super) fn set_workers(&self, addresses: Vec<WorkerAddress>) {
        *self.known() = addresses;
    }

    /// Refuses a prompt that fits none of the workers.
    ///
    /// # Errors
    /// The prompt is too long.
    pub(super) fn check(&self, prompt: &Prompt) -> Result<()> {
        let known = self.known();
        let largest = known.iter().max_by_key(|address| address.model.max_context);
        largest.map_or(Ok(()), |address| fits::check(&address.model, prompt))
    }

    /// A live link for a request of this affinity, to a worker that is not in `excluded`. Connects to new workers first.
    ///
    /// # Errors
    /// There is no such worker: the last failure to connect, if any.
    pub(super) async fn link(
        &self,
        model: &str,
        affinity: u64,
        excluded: &[u64],
    ) -> Result<Arc<Link>, Option<std::io::Error>> {
        let mut links = self.links.lock().await;
        let mut failure = None;
        if !self.is_current(&links) {
            // Forget a lost or retired worker until the supervisor names it again.
            self.known().retain(|at| {
                links.iter().all(|link| link.is_available() || link.incarnation() != at.incarnation)
            });
            let known = self.known().clone();
            links.retain(|link| {
                let is_current =
                    link.is_available() && known.iter().any(|at| at.incarnation == link.incarnation());
                if !is_current {
                    link.retire();
                }
                is_current
            });
            for address in known {
                // An excluded worker may be dead, and this request would not go there.
                if excluded.contains(&address.incarnation)
                    || links.iter().any(|link| link.incarnation() == address.incarnation)
                {
                    continue;
                }
                match Link::open(&address, model).await {
                    Ok(link) => links.push(link),
                    Err(error) => {
                        failure = Some(error);
                        self.known().retain(|at| at.incarnation != address.incarnation);
                    }
                }
            }
        }
        let candidate = |link: &Arc<Link>| Candidate { incarnation: link.incarnation(), load: link.load() };
        let eligible: Vec<&Arc<Link>> =
            links.iter().filter(|link| !excluded.contains(&link.incarnation())).collect();
        let candidates: Vec<Candidate> = eligible.iter().copied().map(candidate).collect();
        choose(affinity, &candidates).map(|at| Arc::clone(eligible[at])).ok_or(failure)
    }

    /// Whether there is a live link to each known worker, and no other link.
    fn is_current(&self, links: &[Arc<Link>]) -> bool {
        let known = self.known();
        known.len() == links.len()
            && links.iter().all(|link| {
                link.is_available() && known.iter().any(|address| address.incarnation == link.incarnation())
            })
    }

    /// Sets the keep-alive. Returns whether it must be sent to the supervisor. A supervisor forgets a set value when the model is
    /// loaded again, so only the default need not be repeated.
    pub(super) fn set_keep_alive(&self, keep: KeepAlive) -> bool {
        let before = self.keep_alive.lock().unwrap_or_else(PoisonError::into_inner).replace(keep);
        keep != KeepAlive::Default || before != Some(KeepAlive::Default)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<WorkerAddress>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
