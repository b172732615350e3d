//! The hub process: answers the supervisor's calls on a socket, and keeps the queue of downloads.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use ipc_proto::hub::{
    Download, DownloadChange, DownloadOrder, Downloads, FoundModel, Hub as HubService, HubConfig, HubQuery,
    RemovedModel,
};
use ipc_proto::socket::{self, Channel};
use ipc_proto::{Error, ErrorKind, Origin, Resource, Result};
use tarpc::context::Context;
use tarpc::server::{BaseChannel, Channel as _};
use tokio::net::{UnixListener, UnixStream};

use crate::appraisal::{self, Appraised, Machine};
use crate::error::HubError;
use crate::queue::{Downloader, Queue};
use crate::removable::Removable;
use crate::search::{MLX, Query};
use crate::settings::ModelName;

/// A watcher without changes is answered after this time.
const WATCH_LIMIT: Duration = Duration::from_secs(20);
/// Time for a search with all its models' files.
const SEARCH_LIMIT: Duration = Duration::from_secs(22);
/// Time in which the hub has to say whether it has a model.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);
/// A model that the hub does not have is not asked for again within this time.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);
/// Names of models that the hub does not have, at most.
const MAX_UNKNOWN: usize = 1000;
/// Time to write the list of downloads at the end.
const LAST_WRITE: Duration = Duration::from_secs(1);

/// What the process is told at its start.
#[derive(Debug)]
pub struct Setup {
    /// Its socket.
    pub socket: PathBuf,
    /// mlxd's home, with the list of downloads.
    pub home: PathBuf,
    /// Bytes of memory that all models may have together.
    pub budget: u64,
    /// The settings.
    pub config: HubConfig,
}

/// Answers calls; clones share the state.
#[derive(Debug, Clone)]
struct Server {
    queue: Queue,
    downloader: Arc<Downloader>,
    machine: Machine,
    /// The home's folder for models.
    own: Arc<Path>,
    /// Models that the hub does not have, and since when that is known.
    unknown: Arc<Mutex<HashMap<String, Instant>>>,
}

/// Serves until `stop` resolves. Downloads that run then go on at the next start.
///
/// # Errors
/// The socket cannot be bound.
pub async fn serve(setup: Setup, stop: impl Future<Output = ()>) -> std::io::Result<()> {
    let Setup { socket, home, budget, config } = setup;
    let listener = socket::listen(&socket)?;
    let downloader = Arc::new(Downloader::new(config));
    let queue = Queue::start(&home, Arc::clone(&downloader));
    let server = Server {
        queue: queue.clone(),
        downloader,
        machine: Machine { budget },
        own: home.join("models").into(),
        unknown: Arc::default(),
    };
    tokio::select! {
        () = server.accept(&listener) => {}
        () = stop => {}
    }
    // A disk that hangs must not hold up the end.
    let _ = tokio::time::timeout(LAST_WRITE, queue.stop()).await;
    remove(&socket);
    Ok(())
}

fn remove(socket: &Path) {
    // Its absence is what is wanted.
    let _ = std::fs::remove_file(socket);
}

impl Server {
    /// Serves every connection; never returns.
    async fn accept(&self, listener: &UnixListener) {
        socket::accept_each(listener, |stream| drop(tokio::spawn(self.clone().connection(stream)))).await;
    }

    async fn connection(self, stream: UnixStream) {
        let stream = match socket::welcome(stream).await {
            Ok((Channel::Control, stream)) => stream,
            Ok((Channel::Steps, _)) => return tracing::warn!("the hub process sends no step frames"),
            Err(error) => return tracing::warn!(%error, "a connection was refused"),
        };
        let calls = BaseChannel::with_defaults(socket::framed(stream)).execute(HubService::serve(self));
        calls.for_each(|call| async { drop(tokio::spawn(call)) }).await;
    }

    /// Refuses a model that the hub does not have. Requests with misspelt names must not fill the list of downloads.
    async fn require_known(&self, name: &ModelName) -> Result<()> {
        let text = || format!("the hub has no model \"{name}\"");
        let key = name.to_string();
        let since = self.unknown.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied();
        if since.is_some_and(|since| since.elapsed() < UNKNOWN_FOR) {
            return Err(Error::not_found(Resource::Model, text()));
        }
        let hub = self.downloader.hub().map_err(|error| error.for_callers())?;
        match tokio::time::timeout(QUESTION_LIMIT, hub.model(name)).await {
            Ok(Err(HubError::NotFound { .. } | HubError::Revision { .. })) => {
                let mut unknown = self.unknown.lock().unwrap_or_else(PoisonError::into_inner);
                if unknown.len() >= MAX_UNKNOWN {
                    unknown.clear();
                }
                unknown.insert(key, Instant::now());
                Err(Error::not_found(Resource::Model, text()))
            }
            Ok(Err(error)) => Err(error.for_callers()),
            Ok(Ok(_)) => Ok(()),
            Err(_) => {
                let text = format!("the hub does not answer within {} s", QUESTION_LIMIT.as_secs());
                Err(Error::new(ErrorKind::Timeout, Origin::Upstream, text))
            }
        }
    }

    /// Says what the removal of a model takes away, and removes it if `removes`.
    async fn take_away(self, id: String, folder: PathBuf, removes: bool) -> Result<RemovedModel> {
        let work = move || -> Result<RemovedModel, HubError> {
            let cache = self.downloader.cache()?;
            let model = Removable::plan(&cache, &self.own, &id, Some(folder.as_path()))?;
            if removes {
                model.remove(&cache)?;
                tracing::info!(model = id, freed = model.freed, "a model was removed");
            }
            Ok(view(model))
        };
        let done = tokio::task::spawn_blocking(work).await;
        let broken =
            |error| Error::new(ErrorKind::Internal, Origin::Hub, format!("the removal broke off: {error}"));
        done.map_err(broken)?.map_err(|error| error.for_callers())
    }

    async fn find(&self, query: HubQuery) -> Result<Vec<FoundModel>, HubError> {
        let hub = self.downloader.hub()?;
        let HubQuery { text, author, task, sort, limit } = query;
        let query = Query { text, author, task, tags: vec![MLX.to_owned()], sort, limit: limit as usize };
        let appraised = appraisal::search(&hub, &query, self.machine, false).await?;
        Ok(appraised.into_iter().map(Appraised::row).collect())
    }
}

fn view(model: Removable) -> RemovedModel {
    let Removable { id, folder, freed, shared, is_link, .. } = model;
    let folder = folder.to_string_lossy().into_owned();
    RemovedModel { model: id, folder, freed_bytes: freed, shared_bytes: shared, is_link }
}

impl HubService for Server {
    async fn downloads(self, _: Context) -> Vec<Download> {
        self.queue.list().await
    }

    async fn add(self, _: Context, order: DownloadOrder) -> Result<Download> {
        let text = match &order.revision {
            Some(revision) => format!("{}@{revision}", order.model),
            None => order.model.clone(),
        };
        let name: ModelName = text.parse().map_err(|error: HubError| error.for_callers())?;
        if order.automatic {
            let mut all = self.queue.list().await.into_iter();
            if !all.any(|other| other.model == name.id && other.revision == name.revision) {
                self.require_known(&name).await?;
            }
        }
        self.queue.add(name, order).await
    }

    async fn change(self, _: Context, id: String, change: DownloadChange) -> Result<Download> {
        self.queue.change(id, change).await
    }

    async fn remove(self, _: Context, id: String, keep: bool) -> Result<Download> {
        self.queue.remove(id, keep).await
    }

    async fn search(self, _: Context, query: HubQuery) -> Result<Vec<FoundModel>> {
        match tokio::time::timeout(SEARCH_LIMIT, self.find(query)).await {
            Ok(found) => found.map_err(|error| error.for_callers()),
            Err(_) => {
                let text = format!("the hub does not answer within {} s", SEARCH_LIMIT.as_secs());
                Err(Error::new(ErrorKind::Timeout, Origin::Upstream, text))
            }
        }
    }

    async fn removal(self, _: Context, model: String, folder: PathBuf) -> Result<RemovedModel> {
        self.take_away(model, folder, false).await
    }

    async fn remove_model(self, _: Context, model: String, folder: PathBuf) -> Result<RemovedModel> {
        self.take_away(model, folder, true).await
    }

    async fn watch(self, _: Context, revision: u64) -> Downloads {
        let mut revisions = self.queue.revisions();
        // Without a change in time, the answer is as before.
        let _ = tokio::time::timeout(WATCH_LIMIT, revisions.wait_for(|now| *now != revision)).await;
        let revision = *revisions.borrow();
        Downloads { revision, downloads: self.queue.list().await }
    }
}
