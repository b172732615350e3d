//! Models on this machine: the supervisor says where, a worker generates.
//!
//! Live links to a model's workers are used as they are; only where there are none is the supervisor asked, which may start
//! some. A request whose worker dies, hangs or is stopped goes on in another one: see `attempt`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::{KeepAlive, ModelEntry, ModelState, SupervisorClient, Want};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use tarpc::client::{Config, RpcError};
use tokio::sync::{OnceCell, broadcast, watch};

use super::{Events, Limit, late};

mod attempt;
mod call;
mod control;
mod embed;
mod link;
mod news;
mod prompts;
mod spread;
mod worker_pool;

pub use attempt::Ask;
use attempt::Attempt;
pub use call::Target;
use link::Link;
pub use news::News;
use worker_pool::WorkerPool;

/// Loading takes as long as it takes; whoever waits can leave.
const LOADING_DEADLINE: Duration = Duration::from_secs(3600);
const CALL_DEADLINE: Duration = Duration::from_secs(30);
/// Times the supervisor is asked for a worker, [`MOMENT`] apart: it takes some 50 ms to see that one has died, longer where much
/// memory is given back, and a recovery that found nobody would be spent for nothing.
const TRIES: u32 = 120;
/// The first of them are for a worker other than those that refused the request or lost it. After that these are gone to once
/// more: a worker that the supervisor has found well for so long may have lost no more than a connection.
const TRIES_ELSEWHERE: u32 = 100;
const MOMENT: Duration = Duration::from_millis(50);
/// Times a request may be given to another worker.
pub const RECOVERIES: u32 = 2;

/// The supervisor's workers.
pub struct Local {
    socket: PathBuf,
    /// Times a request may be given to another worker.
    recoveries: u32,
    supervisor: OnceCell<SupervisorClient>,
    /// Models that were served, by id and by the aliases that were used.
    pools: std::sync::Mutex<HashMap<String, Arc<WorkerPool>>>,
    news: broadcast::Sender<News>,
    /// Whether what still runs has to end.
    over: watch::Sender<bool>,
    /// What happened so far.
    pub counters: Counters,
}

/// What happened since the gateway began.
#[derive(Debug, Default)]
pub struct Counters {
    /// Times that requests were given to another worker.
    pub recoveries: AtomicU64,
    /// Requests that were lost too often.
    pub given_up: AtomicU64,
}

impl Local {
    /// The workers of the supervisor at `socket`. A request is given to another worker up to [`RECOVERIES`] times.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            recoveries: RECOVERIES,
            supervisor: OnceCell::new(),
            pools: std::sync::Mutex::default(),
            news: broadcast::Sender::new(news::CHANGES_AHEAD),
            over: watch::Sender::new(false),
            counters: Counters::default(),
        }
    }

    /// The same, but up to `recoveries` times.
    #[must_use]
    pub fn with_recoveries(self, recoveries: u32) -> Self {
        Self { recoveries, ..self }
    }

    /// Begins a generation: the events of each of its choices.
    ///
    /// # Errors
    /// Before anything was generated: unknown or broken model, a request that does not fit it, too much waiting, no time left.
    pub async fn generate(self: &Arc<Self>, ask: Ask) -> Result<Vec<Events>> {
        let attempt = Attempt::new(Arc::clone(self), ask);
        let deadline = attempt.deadline();
        let queues = tokio::select! {
            begun = attempt.begin() => begun?,
            error = self.limit(deadline) => return Err(error),
        };
        let events = queues.into_iter().zip(attempt.split());
        Ok(events.map(|(queue, one)| Events::new(queue, Box::new(one), self.limit(deadline))).collect())
    }

    /// Fails what still runs: this process is about to end.
    pub fn end(&self) {
        self.over.send_replace(true);
    }

    /// Comes when a request has run out of time, where it has a limit, or has to end with this process.
    fn limit(&self, deadline: Option<Instant>) -> Limit {
        let over = self.over();
        let Some(deadline) = deadline else { return Box::pin(over) };
        Box::pin(async move {
            tokio::select! {
                () = tokio::time::sleep_until(deadline.into()) => late(),
                error = over => error,
            }
        })
    }

    fn over(&self) -> impl Future<Output = Error> + Send + use<> {
        let mut over = self.over.subscribe();
        async move {
            if over.wait_for(|over| *over).await.is_err() {
                // Nobody can say so any more.
                std::future::pending::<()>().await;
            }
            let text = "the server was stopped or replaced before the request had ended; send it again";
            Error::new(ErrorKind::Unavailable, Origin::Gateway, text)
        }
    }

    /// Every model that could be served.
    ///
    /// # Errors
    /// When the supervisor does not answer.
    pub async fn models(&self) -> Result<Vec<ModelEntry>> {
        let client = self.supervisor().await?;
        client.models(deadline(CALL_DEADLINE)).await.map_err(|e| unreachable(&e))
    }

    /// How far `model` is loaded, in hundredths; `None` where it is not being loaded, or nobody says.
    pub async fn loaded(&self, model: &str) -> Option<u64> {
        let models = self.models().await.ok()?;
        let named =
            |entry: &&ModelEntry| entry.id == model || entry.aliases.iter().any(|alias| alias == model);
        match models.iter().find(named)?.state {
            ModelState::Loading { loaded, total } => loaded.saturating_mul(100).checked_div(total),
            _ => None,
        }
    }

    /// Returns once a worker serves `model` and this process is connected to it. Where it is already, nobody is asked.
    ///
    /// # Errors
    /// Unknown or broken model, no memory for it.
    pub async fn ready(&self, model: &str) -> Result<()> {
        self.link_for(&Want::model(model), 0, &[]).await.map(drop)
    }

    /// A live link to a worker of the model that is wanted, which is to take a request of this affinity; to another one than those
    /// in `excluded`. Where another worker has been lost with the request the supervisor is asked in any case: after an unload on
    /// purpose nobody shall go on with it.
    ///
    /// An error is final: what could be waited for was waited for.
    async fn link_for(&self, want: &Want, affinity: u64, excluded: &[u64]) -> Result<Arc<Link>> {
        let model = &*want.model;
        let known = self.pools().get(model).cloned();
        if want.lost.is_none()
            && let Some(pool) = known
            && let Ok(link) = pool.link(model, affinity, excluded).await
        {
            return Ok(link);
        }
        let mut last = None;
        // The worker may have died while its address travelled.
        for tried in 0..TRIES {
            let pool = self.ensure_ready(want.clone()).await?;
            let excluded = if tried < TRIES_ELSEWHERE { excluded } else { &[] };
            match pool.link(model, affinity, excluded).await {
                Ok(link) => return Ok(link),
                Err(failure) => last = failure.or(last),
            }
            tokio::time::sleep(MOMENT).await;
        }
        let cause = last.map_or_else(String::new, |e| e.to_string());
        let text = format!("the worker for \"{model}\" is gone: {cause}");
        Err(Error::new(ErrorKind::Unavailable, Origin::Worker, text))
    }

    /// Has the supervisor see to it that a model is served.
    async fn ensure_ready(&self, want: Want) -> Result<Arc<WorkerPool>> {
        let client = self.supervisor().await?;
        let model = want.model.clone();
        let asked = client.ensure_ready(deadline(LOADING_DEADLINE), want).await;
        let addresses = asked.map_err(|e| unreachable(&e))??;
        let pool = self.worker_pool(&model).await?;
        pool.know(addresses);
        Ok(pool)
    }

    /// The worker pool of a model that the supervisor knows. Names that do not exist leave no entry.
    async fn worker_pool(&self, name: &str) -> Result<Arc<WorkerPool>> {
        if let Some(pool) = self.pools().get(name) {
            return Ok(Arc::clone(pool));
        }
        let named = |model: &ModelEntry| model.id == name || model.aliases.iter().any(|alias| alias == name);
        let id =
            self.models().await?.into_iter().find(named).map_or_else(|| name.to_owned(), |model| model.id);
        let mut pools = self.pools();
        let pool = Arc::clone(pools.entry(id).or_default());
        pools.insert(name.to_owned(), Arc::clone(&pool));
        Ok(pool)
    }

    /// Tells how long a model is to stay after a request, where that is news; nobody waits for it. A request that says nothing
    /// takes back what an earlier one said.
    fn keep(self: Arc<Self>, model: String, keep: Option<KeepAlive>) {
        let keep = keep.unwrap_or_default();
        if !self.pools().get(&model).is_some_and(|pool| pool.keep(keep)) {
            return;
        }
        tokio::spawn(async move {
            if let Err(error) = self.keep_alive(model, keep).await {
                tracing::warn!(%error, "keep_alive was not heard");
            }
        });
    }

    async fn supervisor(&self) -> Result<&SupervisorClient> {
        let connect = || async {
            let stream = socket::connect(&self.socket, Channel::Control).await.map_err(|e| {
                let text = format!("the supervisor cannot be reached: {e}");
                Error::new(ErrorKind::Unavailable, Origin::Supervisor, text)
            })?;
            Ok(SupervisorClient::new(Config::default(), socket::framed(stream)).spawn())
        };
        self.supervisor.get_or_try_init(connect).await
    }

    fn pools(&self) -> std::sync::MutexGuard<'_, HashMap<String, Arc<WorkerPool>>> {
        self.pools.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
    Error::new(kind, Origin::Gateway, format!("{whom} does not answer: {error}"))
}

/// As [`lost`], for the supervisor.
fn unreachable(error: &RpcError) -> Error {
    Error { origin: Origin::Supervisor, ..lost("the supervisor", error) }
}
