//! A model's workers as the gateway knows them, and its links to them.

use std::sync::{Arc, Mutex, PoisonError};

use ipc_proto::supervisor::{KeepAlive, WorkerAddress};

use crate::backends::local::balance::{Candidate, choose};
use crate::backends::local::link::Link;

/// A model that was served: where its workers are, and the links to them.
#[derive(Default)]
pub(super) struct WorkerPool {
    /// What the supervisor said last.
    known: Mutex<Vec<WorkerAddress>>,
    /// Its lock makes simultaneous requests share one connecting.
    links: tokio::sync::Mutex<Vec<Arc<Link>>>,
    /// How long it is to stay, as told last; `None` before that, when an earlier gateway may have told something.
    kept: Mutex<Option<KeepAlive>>,
}

impl WorkerPool {
    /// The workers that take requests are these from now on.
    pub(super) fn set_workers(&self, addresses: Vec<WorkerAddress>) {
        *self.known() = addresses;
    }

    /// A live link to the worker that is to take a request of this affinity, none of the incarnations in `excluded`; the last
    /// failure to connect where there is none.
    pub(super) async fn link(
        &self,
        model: &str,
        affinity: u64,
        excluded: &[u64],
    ) -> Result<Arc<Link>, Option<std::io::Error>> {
        let mut links = self.links.lock().await;
        let mut failure = None;
        if !self.is_current(&links) {
            // A worker that is gone or going is not asked again unless the supervisor names it anew.
            self.known().retain(|at| {
                links.iter().all(|link| link.takes_more() || link.incarnation() != at.incarnation)
            });
            let known = self.known().clone();
            links.retain(|link| {
                let stays = link.takes_more() && known.iter().any(|at| at.incarnation == link.incarnation());
                if !stays {
                    link.retire();
                }
                stays
            });
            for address in known {
                // One that may be gone is not connected to for a request that would not go there.
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
        let welcome: Vec<&Arc<Link>> =
            links.iter().filter(|link| !excluded.contains(&link.incarnation())).collect();
        let candidates: Vec<Candidate> = welcome.iter().copied().map(candidate).collect();
        choose(affinity, &candidates).map(|at| Arc::clone(welcome[at])).ok_or(failure)
    }

    /// Whether the links are live and lead to the workers that are known, all of them.
    fn is_current(&self, links: &[Arc<Link>]) -> bool {
        let known = self.known();
        known.len() == links.len()
            && links.iter().all(|link| {
                link.takes_more() && known.iter().any(|address| address.incarnation == link.incarnation())
            })
    }

    /// It is to stay so long after the last request; whether the supervisor has to be told. What it has been told it may have
    /// forgotten, since the model was loaded anew; that it is to do as usual it has not.
    pub(super) fn set_keep_alive(&self, keep: KeepAlive) -> bool {
        let before = self.kept.lock().unwrap_or_else(PoisonError::into_inner).replace(keep);
        keep != KeepAlive::Default || before != Some(KeepAlive::Default)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Vec<WorkerAddress>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
