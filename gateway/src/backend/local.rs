//! Models on this machine: the supervisor says where, a worker generates.
//!
//! A live link to a worker is used as it is; only where there is none is the supervisor asked, which may start the
//! worker. A worker that dies fails the requests it had; one that dies before it took a request is replaced unseen.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ipc_proto::generate::{GenerateRequest, Prompt};
use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::{ModelEntry, SupervisorClient, Want};
use ipc_proto::{Error, ErrorKind, Result, Source};
use tarpc::client::{Config, RpcError};
use tokio::sync::{Mutex, OnceCell};

use super::Events;

mod embed;
mod link;

use link::Link;

/// Loading takes as long as it takes; whoever waits can leave.
const LOADING_DEADLINE: Duration = Duration::from_secs(3600);
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Times a request is offered to a worker: one may have died unseen.
const TRIES: u32 = 2;

/// A model's link, if there is one; its lock makes simultaneous requests share one connecting.
type Place = Arc<Mutex<Option<Arc<Link>>>>;

/// The supervisor's workers.
pub struct Local {
    socket: PathBuf,
    supervisor: OnceCell<SupervisorClient>,
    /// One place for each model that was served.
    links: std::sync::Mutex<HashMap<String, Place>>,
}

impl Local {
    /// The workers of the supervisor at `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, supervisor: OnceCell::new(), links: std::sync::Mutex::default() }
    }

    /// Begins a generation.
    ///
    /// # Errors
    /// Before anything was generated: unknown or broken model, a request that does not fit it, too much waiting.
    pub async fn generate(&self, model: &str, request: GenerateRequest) -> Result<Events> {
        for _ in 1..TRIES {
            let link = self.link(model).await?;
            match Arc::clone(&link).submit(request.clone()).await {
                Err(error) if error.kind == ErrorKind::Unavailable => link.close(),
                outcome => return outcome,
            }
        }
        self.link(model).await?.submit(request).await
    }

    /// Tokens of a prompt as `model` would see it.
    ///
    /// # Errors
    /// Unknown or broken model, a prompt that its template refuses.
    pub async fn count_tokens(&self, model: &str, prompt: Prompt) -> Result<u32> {
        self.link(model).await?.count_tokens(prompt).await
    }

    /// Every model that could be served.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub async fn models(&self) -> Result<Vec<ModelEntry>> {
        let client = self.supervisor().await?;
        client.models(deadline(CALL_DEADLINE)).await.map_err(|e| lost("the supervisor", &e))
    }

    /// A live link to the worker of `model`.
    async fn link(&self, model: &str) -> Result<Arc<Link>> {
        let known = self.links().get(model).cloned();
        if let Some(place) = known {
            let place = &mut *place.lock().await;
            return self.refresh(model, place).await;
        }
        // Names that do not exist leave nothing behind: the place is made once the supervisor knows the model.
        let mut first = None;
        let link = self.refresh(model, &mut first).await?;
        self.links().entry(model.to_owned()).or_insert_with(|| Arc::new(Mutex::new(first)));
        Ok(link)
    }

    async fn refresh(&self, model: &str, place: &mut Option<Arc<Link>>) -> Result<Arc<Link>> {
        if let Some(link) = place.as_ref().filter(|link| link.is_open()) {
            return Ok(Arc::clone(link));
        }
        *place = None;
        let mut last = None;
        // The worker may have died while its address travelled.
        for _ in 0..TRIES {
            let client = self.supervisor().await?;
            let asked = client.ensure_ready(deadline(LOADING_DEADLINE), Want::model(model)).await;
            let addresses = asked.map_err(|e| lost("the supervisor", &e))??;
            let Some(address) = addresses.first() else { continue };
            match Link::open(address, model).await {
                Ok(link) => return Ok(Arc::clone(place.insert(link))),
                Err(e) => last = Some(e),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let cause = last.map_or_else(String::new, |e| e.to_string());
        Err(Error::new(
            ErrorKind::Unavailable,
            Source::Worker,
            format!("the worker for \"{model}\" is gone: {cause}"),
        ))
    }

    async fn supervisor(&self) -> Result<&SupervisorClient> {
        let connect = || async {
            let stream = socket::connect(&self.socket, Channel::Control).await.map_err(|e| {
                let text = format!("the supervisor cannot be reached: {e}");
                Error::new(ErrorKind::Unavailable, Source::Supervisor, text)
            })?;
            Ok(SupervisorClient::new(Config::default(), socket::framed(stream)).spawn())
        };
        self.supervisor.get_or_try_init(connect).await
    }

    fn links(&self) -> std::sync::MutexGuard<'_, HashMap<String, Place>> {
        self.links.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A call context; tarpc's own default is ten seconds.
fn deadline(limit: Duration) -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + limit;
    context
}

fn lost(whom: &str, error: &RpcError) -> Error {
    let kind =
        if matches!(error, RpcError::DeadlineExceeded) { ErrorKind::Timeout } else { ErrorKind::Unavailable };
    Error::new(kind, Source::Gateway, format!("{whom} does not answer: {error}"))
}
