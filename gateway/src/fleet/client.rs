//! Calls to the supervisor.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::{Duration, Instant};

use ipc_proto::gateway::LocalState;
use ipc_proto::hub::{
    Download, DownloadChange, DownloadOrder, Downloads, FoundModel, HubQuery, RemovedModel,
};
use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::{
    Changes, KeepAlive, LiveSettings, LogLines, ModelEntry, ModelSettings, ModelState, Pool, Restart,
    SettingsChange, SettingsOutcome, SupervisorClient, Want, WorkerAddress,
};
use ipc_proto::{Error, ErrorKind, Origin, Result};
use tarpc::client::{Config, RpcError};
use tokio::sync::OnceCell;

/// Loading has no limit of its own. A caller that leaves drops the call, and a supervisor without a sign of life ends it.
const LOADING_DEADLINE: Duration = Duration::from_secs(3600);
/// The supervisor waits for a disk for five seconds at most.
const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// A search waits for the hub, which may be slow.
const SEARCH_DEADLINE: Duration = Duration::from_secs(28);
/// Interval of the gateway's signs of life.
const BEAT: Duration = Duration::from_secs(1);
/// During a call that may take long, the supervisor is asked for a sign of life at this interval.
const CHECK: Duration = Duration::from_secs(5);
/// The supervisor answers a watch call after 20 s at the latest.
const WATCH_DEADLINE: Duration = Duration::from_secs(60);

/// The supervisor. Connects at the first call.
pub struct FleetClient {
    socket: PathBuf,
    connection: OnceCell<SupervisorClient>,
}

impl FleetClient {
    /// A client of the supervisor at `socket`.
    pub fn new(socket: PathBuf) -> Self {
        Self { socket, connection: OnceCell::new() }
    }

    /// The private folder that all processes of the server share: that of the supervisor's socket.
    pub fn run_folder(&self) -> &Path {
        self.socket.parent().unwrap_or(Path::new("."))
    }

    /// Waits until a worker serves the wanted model. Returns the addresses of all workers that do.
    ///
    /// # Errors
    /// Unknown or broken model, no memory for it.
    pub async fn ensure_ready(&self, want: Want) -> Result<Vec<WorkerAddress>> {
        let call =
            async { answer(self.connection().await?.ensure_ready(deadline(LOADING_DEADLINE), want).await) };
        self.patiently(call).await
    }

    /// All models, loaded or not.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub async fn models(&self) -> Result<Vec<ModelEntry>> {
        let call = async {
            self.connection().await?.models(deadline(CALL_DEADLINE)).await.map_err(|e| unreachable(&e))
        };
        within(call).await
    }

    /// The model of this id or alias.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn model(&self, name: &str) -> Result<ModelEntry> {
        let name = name.to_owned();
        within(async { answer(self.connection().await?.model(deadline(CALL_DEADLINE), name).await) }).await
    }

    /// The state of a model of this machine, for routes. A supervisor that does not answer makes it unusable.
    pub async fn state(&self, model: &str) -> LocalState {
        let Ok(entry) = self.model(model).await else { return LocalState::Unusable };
        if entry.details.unserved || entry.details.problem.is_some() {
            return LocalState::Unusable;
        }
        if entry.state == ModelState::Ready {
            return LocalState::Ready;
        }
        match self.pool().await {
            Ok(pool) => state_in(&pool, entry.bytes),
            Err(_) => LocalState::Unusable,
        }
    }

    /// The loading progress of a model in percent; `None` if it does not load, or the supervisor does not answer.
    pub async fn loading_percent(&self, model: &str) -> Option<u64> {
        match self.model(model).await.ok()?.state {
            ModelState::Loading { loaded, total } => loaded.saturating_mul(100).checked_div(total),
            _ => None,
        }
    }

    /// Ends a model's workers and waits until their memory is free.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn unload(&self, model: String, force: bool) -> Result<()> {
        let call =
            async { answer(self.connection().await?.unload(deadline(LOADING_DEADLINE), model, force).await) };
        self.patiently(call).await
    }

    /// Restarts a model's workers or the gateway.
    ///
    /// # Errors
    /// Unknown or broken model.
    pub async fn restart(&self, what: Restart) -> Result<()> {
        let call = async { answer(self.connection().await?.restart(deadline(LOADING_DEADLINE), what).await) };
        self.patiently(call).await
    }

    /// Sets whether a model may be evicted.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn pin(&self, model: String, pinned: bool) -> Result<()> {
        within(async { answer(self.connection().await?.pin(deadline(CALL_DEADLINE), model, pinned).await) })
            .await
    }

    /// Sets how long a running model stays loaded when it is idle.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn keep_alive(&self, model: String, keep: KeepAlive) -> Result<()> {
        within(async {
            answer(self.connection().await?.keep_alive(deadline(CALL_DEADLINE), model, keep).await)
        })
        .await
    }

    /// The effective settings of a model.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn settings(&self, model: String) -> Result<ModelSettings> {
        within(async { answer(self.connection().await?.settings(deadline(CALL_DEADLINE), model).await) })
            .await
    }

    /// Replaces a model's settings.
    ///
    /// # Errors
    /// Unknown model, an invalid value.
    pub async fn set_settings(&self, model: String, settings: ModelSettings) -> Result<()> {
        within(async {
            answer(self.connection().await?.set_settings(deadline(CALL_DEADLINE), model, settings).await)
        })
        .await
    }

    /// The memory budget and its leases.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub async fn pool(&self) -> Result<Pool> {
        let call = async {
            self.connection().await?.pool(deadline(CALL_DEADLINE)).await.map_err(|e| unreachable(&e))
        };
        within(call).await
    }

    /// The changes after `revision`, once there are any.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub async fn changes(&self, revision: u64) -> Result<Changes> {
        self.connection().await?.watch(deadline(WATCH_DEADLINE), revision).await.map_err(|e| unreachable(&e))
    }

    /// Asks the supervisor not to count the death of a worker against its model: a request is to blame that has lost another worker
    /// before.
    ///
    /// # Errors
    /// Unknown model.
    pub async fn excuse(&self, model: String, incarnation: u64) -> Result<()> {
        within(async {
            answer(self.connection().await?.excuse(deadline(CALL_DEADLINE), model, incarnation).await)
        })
        .await
    }

    /// All downloads, the oldest first.
    ///
    /// # Errors
    /// The hub process does not answer.
    pub async fn downloads(&self) -> Result<Vec<Download>> {
        within(async { answer(self.connection().await?.downloads(deadline(CALL_DEADLINE)).await) }).await
    }

    /// Queues a download.
    ///
    /// # Errors
    /// The name is none; the list cannot be written; the hub process does not answer.
    pub async fn add_download(&self, order: DownloadOrder) -> Result<Download> {
        within(async { answer(self.connection().await?.add_download(deadline(CALL_DEADLINE), order).await) })
            .await
    }

    /// Changes a download.
    ///
    /// # Errors
    /// There is none of this id; as [`Self::add_download`].
    pub async fn change_download(&self, id: String, change: DownloadChange) -> Result<Download> {
        within(async {
            answer(self.connection().await?.change_download(deadline(CALL_DEADLINE), id, change).await)
        })
        .await
    }

    /// Takes a download off the list, and gives its room back unless `keep`.
    ///
    /// # Errors
    /// As [`Self::change_download`].
    pub async fn remove_download(&self, id: String, keep: bool) -> Result<Download> {
        within(async {
            answer(self.connection().await?.remove_download(deadline(CALL_DEADLINE), id, keep).await)
        })
        .await
    }

    /// Searches the hub.
    ///
    /// # Errors
    /// The hub cannot be reached, or refuses.
    pub async fn search_hub(&self, query: HubQuery) -> Result<Vec<FoundModel>> {
        let call =
            async { answer(self.connection().await?.search_hub(deadline(SEARCH_DEADLINE), query).await) };
        self.patiently(call).await
    }

    /// The downloads, once they differ from those of `revision`. Of the same revision there is no news.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub async fn watch_downloads(&self, revision: u64) -> Result<Downloads> {
        let connection = self.connection().await?;
        connection.watch_downloads(deadline(WATCH_DEADLINE), revision).await.map_err(|e| unreachable(&e))
    }

    /// What the removal of a model takes away.
    ///
    /// # Errors
    /// Unknown model, or one that mlxd does not manage.
    pub async fn removal(&self, model: String) -> Result<RemovedModel> {
        within(async { answer(self.connection().await?.removal(deadline(CALL_DEADLINE), model).await) }).await
    }

    /// Unloads a model and removes it from disk.
    ///
    /// # Errors
    /// As [`Self::removal`]; a download of it runs; files cannot be removed.
    pub async fn remove_model(&self, model: String) -> Result<RemovedModel> {
        let call =
            async { answer(self.connection().await?.remove_model(deadline(LOADING_DEADLINE), model).await) };
        self.patiently(call).await
    }

    /// Lines of the log behind the one of this number, or the last ones.
    ///
    /// # Errors
    /// The supervisor does not answer.
    pub async fn logs(&self, after: Option<u64>, most: u32) -> Result<LogLines> {
        let call = async {
            let lines = self.connection().await?.logs(deadline(CALL_DEADLINE), after, most).await;
            lines.map_err(|e| unreachable(&e))
        };
        within(call).await
    }

    /// The server's own settings.
    ///
    /// # Errors
    /// The file cannot be read, or has a wrong value.
    pub async fn live_settings(&self) -> Result<LiveSettings> {
        within(async { answer(self.connection().await?.live_settings(deadline(CALL_DEADLINE)).await) }).await
    }

    /// Changes the server's own settings.
    ///
    /// # Errors
    /// A wrong name or value; the file cannot be written; no gateway starts with them.
    pub async fn change_live_settings(&self, change: SettingsChange) -> Result<SettingsOutcome> {
        let call = async {
            answer(self.connection().await?.change_live_settings(deadline(LOADING_DEADLINE), change).await)
        };
        self.patiently(call).await
    }

    /// Exchanges signs of life with the supervisor.
    ///
    /// # Errors
    /// The supervisor gives none.
    pub async fn beat(&self) -> Result<()> {
        let call = async {
            self.connection().await?.beat(deadline(CALL_DEADLINE)).await.map_err(|e| unreachable(&e))
        };
        within(call).await
    }

    /// Gives signs of life; never returns. The supervisor replaces a gateway without them.
    pub async fn keep_beating(&self) {
        loop {
            if let Err(error) = self.beat().await {
                tracing::debug!(%error, "the supervisor gives no sign of life");
            }
            tokio::time::sleep(BEAT).await;
        }
    }

    /// Waits for a call that may take long, as long as the supervisor gives signs of life.
    fn patiently<'a, T>(&'a self, call: impl Future<Output = Result<T>> + Send + 'a) -> Call<'a, T> {
        let silence = async {
            loop {
                tokio::time::sleep(CHECK).await;
                if let Err(error) = self.beat().await {
                    return error;
                }
            }
        };
        Box::pin(async {
            tokio::select! {
                answer = call => answer,
                error = silence => Err(error),
            }
        })
    }

    async fn connection(&self) -> Result<&SupervisorClient> {
        let connect = || async {
            let stream = socket::connect(&self.socket, Channel::Control).await.map_err(|e| {
                let text = format!("the supervisor cannot be reached: {e}");
                Error::new(ErrorKind::Unavailable, Origin::Supervisor, text)
            })?;
            Ok(SupervisorClient::new(Config::default(), socket::framed(stream)).spawn())
        };
        self.connection.get_or_try_init(connect).await
    }
}

/// The state of a model that is not loaded and whose files have this size.
fn state_in(pool: &Pool, bytes: u64) -> LocalState {
    match bytes {
        _ if bytes > pool.budget => LocalState::Unusable,
        _ if bytes > pool.budget.saturating_sub(pool.leased) => LocalState::WouldEvict,
        _ => LocalState::Loadable,
    }
}

/// A call context with this deadline. The default of tarpc is ten seconds.
pub(crate) fn deadline(limit: Duration) -> tarpc::context::Context {
    let mut context = tarpc::context::current();
    context.deadline = Instant::now() + limit;
    context
}

/// A call to the supervisor. It is boxed: tarpc's futures have kilobytes, and every request that may make a call would have room
/// for one, for as long as it waits.
type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// Bounds a call together with the connection that it may have to wait for.
fn within<'a, T>(call: impl Future<Output = Result<T>> + Send + 'a) -> Call<'a, T> {
    let call = tokio::time::timeout(CALL_DEADLINE, call);
    let silent = || {
        let text = format!("the supervisor does not answer within {} s", CALL_DEADLINE.as_secs());
        Err(Error::new(ErrorKind::Timeout, Origin::Supervisor, text))
    };
    Box::pin(async move { call.await.unwrap_or_else(|_| silent()) })
}

fn answer<T>(answer: Result<Result<T>, RpcError>) -> Result<T> {
    answer.map_err(|e| unreachable(&e)).flatten()
}

fn unreachable(error: &RpcError) -> Error {
    let (kind, text) = match error {
        // The deadline differs from call to call.
        RpcError::DeadlineExceeded => (ErrorKind::Timeout, "the supervisor does not answer in time".into()),
        _ => (ErrorKind::Unavailable, format!("the supervisor does not answer: {error}")),
    };
    Error::new(kind, Origin::Supervisor, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_follows_from_the_free_memory() {
        let pool = Pool { budget: 100, leased: 60, ..Pool::default() };
        for (bytes, state) in
            [(40, LocalState::Loadable), (41, LocalState::WouldEvict), (101, LocalState::Unusable)]
        {
            assert_eq!(state_in(&pool, bytes), state, "{bytes}");
        }
    }
}
