//! The way to a backend's program: the supervisor starts it if it does not run, and says where it is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipc_proto::generate::Priority;
use ipc_proto::supervisor::{KeepAlive, Want, http_socket};
use ipc_proto::{Error, ErrorKind, Origin};
use tracing::Instrument;

use super::super::failure::Failure;
use super::Link;
use crate::fleet::FleetClient;

/// The address in requests. It leads to no host: the runner's socket stands in for it.
pub(super) const URL: &str = "http://127.0.0.1/v1";

/// One backend's program.
pub(super) struct Managed {
    fleet: Arc<FleetClient>,
    /// The id of its model.
    model: String,
    timeout: Duration,
    /// The way to the process of this incarnation.
    last: Mutex<Option<(u64, Link)>>,
    /// The last keep-alive that the supervisor was told; `None` before the first.
    kept: Mutex<Option<KeepAlive>>,
}

impl Managed {
    pub(super) fn new(fleet: Arc<FleetClient>, model: String, timeout: Duration) -> Self {
        Self { fleet, model, timeout, last: Mutex::default(), kept: Mutex::default() }
    }

    /// The way to the program, which is started if it does not run.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) async fn link(&self, priority: Priority) -> Result<Link, Failure> {
        let want = Want { priority, ..Want::model(&self.model) };
        let ready = self.fleet.ensure_ready(want).await.map_err(Failure::not_started)?;
        let Some(address) = ready.last() else { return Err(self.lost("no process of it runs")) };
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((incarnation, link)) = &*last
            && *incarnation == address.incarnation
        {
            return Ok(link.clone());
        }
        let link = Link::to_socket(http_socket(&address.socket), self.timeout);
        let link = link.map_err(|problem| self.lost(&format!("{problem:#}")))?;
        *last = Some((address.incarnation, link.clone()));
        Ok(link)
    }

    /// Passes the keep-alive of a request on to the supervisor, if it is new. Does not wait.
    pub(super) fn keep_alive(&self, keep: KeepAlive) {
        let before = self.kept.lock().unwrap_or_else(PoisonError::into_inner).replace(keep);
        // The supervisor forgets a value when the model is unloaded.
        if keep == KeepAlive::Default && before == Some(KeepAlive::Default) {
            return;
        }
        let (fleet, model) = (Arc::clone(&self.fleet), self.model.clone());
        let send = async move {
            if let Err(error) = fleet.keep_alive(model, keep).await {
                tracing::warn!(%error, "the supervisor did not take keep_alive");
            }
        };
        tokio::spawn(send.in_current_span());
    }

    fn lost(&self, problem: &str) -> Failure {
        let text = format!("the model \"{}\" cannot be asked: {problem}", self.model);
        Failure::not_started(Error::new(ErrorKind::Unavailable, Origin::Gateway, text))
    }
}
