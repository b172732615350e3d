//! Serves control connections from the gateway and the command line.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use ipc_proto::hub::{
    Download, DownloadChange, DownloadOrder, Downloads, FoundModel, HubQuery, RemovedModel,
};
use ipc_proto::socket::{self, Channel};
use ipc_proto::supervisor::{
    Changes, Details, KeepAlive, LiveSettings, LogLines, ModelEntry, ModelSettings, Pool, Restart,
    SettingsChange, SettingsOutcome, Supervisor, Want, WorkerAddress,
};
use ipc_proto::{Error, Result};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;

use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::hub::HubProcess;
use crate::live::Live;
use crate::log;

/// A watcher without changes is answered after this time, so that departed watchers are noticed.
const WATCH_LIMIT: Duration = Duration::from_secs(20);

/// Handles to the parts that answer calls.
#[derive(Debug, Clone)]
pub(crate) struct Services {
    pub(crate) fleet: Fleet,
    pub(crate) gateway: Gateway,
    pub(crate) hub: HubProcess,
    pub(crate) live: Live,
    /// Notified when the server has to stop.
    pub(crate) stop: Arc<Notify>,
}

/// Serves every connection to `listener`.
pub(crate) async fn serve(listener: UnixListener, services: Services) {
    socket::accept_each(&listener, |stream| drop(tokio::spawn(serve_connection(stream, services.clone()))))
        .await;
}

async fn serve_connection(stream: UnixStream, services: Services) {
    let peer = stream.peer_cred().ok().and_then(|peer| peer.pid());
    let stream = match socket::welcome(stream).await {
        Ok((Channel::Control, stream)) => stream,
        Ok((Channel::Steps, _)) => return tracing::warn!("the supervisor sends no step frames"),
        Err(error) => return tracing::warn!(%error, "a connection was refused"),
    };
    let peer = peer.and_then(|pid| u32::try_from(pid).ok());
    if let Some(pid) = peer {
        services.gateway.record_connection(pid);
    }
    let calls = BaseChannel::with_defaults(socket::framed(stream)).execute(Server(services, peer).serve());
    calls.for_each(|call| async { drop(tokio::spawn(call)) }).await;
}

/// Answers the calls of the process with this id.
#[derive(Clone)]
struct Server(Services, Option<u32>);

impl Supervisor for Server {
    async fn ensure_ready(self, _: Context, want: Want) -> Result<Vec<WorkerAddress>> {
        self.0.fleet.ensure_ready(want).await
    }

    async fn models(self, _: Context) -> Vec<ModelEntry> {
        self.0.fleet.models().await
    }

    async fn model(self, _: Context, name: String) -> Result<ModelEntry> {
        self.0.fleet.model(name).await
    }

    async fn keep_alive(self, _: Context, model: String, keep: KeepAlive) -> Result<()> {
        self.0.fleet.keep_alive(model, keep).await
    }

    async fn unload(self, _: Context, model: String, force: bool) -> Result<()> {
        self.0.fleet.unload(model, force).await
    }

    async fn restart(self, _: Context, what: Restart) -> Result<()> {
        match what {
            Restart::Gateway => self.0.gateway.restart().await,
            Restart::Model(model) => self.0.fleet.restart(model).await,
        }
    }

    async fn pin(self, _: Context, model: String, pinned: bool) -> Result<()> {
        self.0.fleet.pin(model, pinned).await
    }

    async fn stop(self, _: Context) {
        tracing::info!("a client requested a stop");
        self.0.stop.notify_one();
    }

    async fn pool(self, _: Context) -> Pool {
        self.0.fleet.pool().await
    }

    async fn watch(self, _: Context, revision: u64) -> Changes {
        let quiet = Changes { revision, ..Changes::default() };
        tokio::time::timeout(WATCH_LIMIT, self.0.fleet.watch(revision)).await.unwrap_or(quiet)
    }

    async fn settings(self, _: Context, model: String) -> Result<ModelSettings> {
        self.0.fleet.settings(model).await
    }

    async fn set_settings(self, _: Context, model: String, settings: ModelSettings) -> Result<()> {
        self.0.fleet.set_settings(model, settings).await
    }
    async fn beat(self, _: Context) {
        if let Some(pid) = self.1 {
            self.0.gateway.record_beat(pid);
        }
    }

    async fn excuse(self, _: Context, model: String, incarnation: u64) -> Result<()> {
        self.0.fleet.excuse(model, incarnation).await
    }

    async fn downloads(self, _: Context) -> Result<Vec<Download>> {
        self.0.hub.downloads().await
    }

    async fn add_download(self, _: Context, order: DownloadOrder) -> Result<Download> {
        self.0.hub.add(order).await
    }

    async fn change_download(self, _: Context, id: String, change: DownloadChange) -> Result<Download> {
        self.0.hub.change(id, change).await
    }

    async fn remove_download(self, _: Context, id: String, keep: bool) -> Result<Download> {
        self.0.hub.remove(id, keep).await
    }

    async fn search_hub(self, _: Context, query: HubQuery) -> Result<Vec<FoundModel>> {
        self.0.hub.search(query).await
    }

    async fn watch_downloads(self, _: Context, revision: u64) -> Downloads {
        let same = || Downloads { revision, downloads: Vec::new() };
        tokio::time::timeout(WATCH_LIMIT, self.0.hub.watch(revision)).await.unwrap_or_else(|_| same())
    }

    async fn removal(self, _: Context, model: String) -> Result<RemovedModel> {
        let ModelEntry { id, details, .. } = self.0.fleet.model(model).await?;
        check_removable(&id, &details)?;
        self.0.hub.removal(id, details.folder).await
    }

    async fn remove_model(self, _: Context, model: String) -> Result<RemovedModel> {
        let ModelEntry { id, details, .. } = self.0.fleet.model(model).await?;
        check_removable(&id, &details)?;
        // A model that cannot be removed is not unloaded.
        self.0.hub.removal(id.clone(), details.folder.clone()).await?;
        self.0.fleet.unload(id.clone(), false).await?;
        self.0.hub.remove_model(id, details.folder).await
    }

    async fn logs(self, _: Context, after: Option<u64>, most: u32) -> LogLines {
        log::recent(after, most as usize)
    }

    async fn live_settings(self, _: Context) -> Result<LiveSettings> {
        self.0.live.read().await
    }

    async fn change_live_settings(self, _: Context, change: SettingsChange) -> Result<SettingsOutcome> {
        self.0.live.change(change).await
    }
}

/// Refuses the model of a backend: it has no folder.
fn check_removable(id: &str, details: &Details) -> Result<()> {
    let Some(backend) = &details.backend else { return Ok(()) };
    let text = format!("the model \"{id}\" is not on disk: take [backends.{backend}] out of config.toml");
    Err(Error::invalid("model", text))
}
