//! Downloads a model into the cache.
//!
//! A file comes in parts, several at a time, into `blobs/DIGEST.mlxd.incomplete`. A log beside it has the ranges that are there, so
//! a download continues after any end of the process. When a file is complete and its digest is right, it becomes a blob by a
//! rename. When all files are blobs, the snapshot appears by another. Until then no program sees the model.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio::sync::Semaphore;

use crate::cache::{Cache, Repository};
use crate::client::Hub;
use crate::error::{HubError, at};
use crate::info::{ModelInfo, RemoteFile};
use crate::select::{Selection, select};
use crate::settings::ModelName;

mod checker;
mod limiter;
mod partial;
mod ranges;
mod transfer;

pub use limiter::Limiter;
use partial::Partial;
use transfer::Transfer;

/// Connections of a download, unless its order says otherwise. More make a fast line no faster.
pub const CONNECTIONS: u16 = 8;
/// Files that are downloaded at once.
const FILES: usize = 4;
/// Bytes that a disk must have beyond the download.
const RESERVE: u64 = 64 << 20;

/// A download: the model, the files, the options.
#[derive(Debug, Clone)]
pub struct Pull {
    /// The model.
    pub name: ModelName,
    /// Files beyond those that a model needs: names with `*` for any text.
    pub include: Vec<String>,
    /// Connections at once.
    pub connections: usize,
    /// Bytes a second at most. Downloads may share a limit.
    pub limiter: Limiter,
}

/// A complete model on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The model's present name.
    pub id: String,
    /// The commit.
    pub commit: String,
    /// The folder with its files.
    pub folder: PathBuf,
    /// Files.
    pub files: usize,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes that came in this download.
    pub received: u64,
}

/// A step of a download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Another process has the lock on the model, or on one of its files.
    Waiting(String),
    /// The files are known. `present` bytes are on disk already.
    Planned {
        /// The model's present name.
        id: String,
        /// The commit.
        commit: String,
        /// Files.
        files: usize,
        /// Bytes of all files.
        bytes: u64,
        /// Bytes that need no download.
        present: u64,
    },
    /// Bytes of a file have come.
    Received {
        /// The file.
        path: String,
        /// Bytes since the last event of this file.
        bytes: u64,
    },
    /// A file is complete and right.
    Completed {
        /// The file.
        path: String,
        /// Bytes.
        bytes: u64,
    },
    /// A part of a file failed and is tried again.
    Retrying {
        /// The file.
        path: String,
        /// The reason.
        cause: String,
        /// The time until then.
        after: Duration,
    },
    /// An earlier download of a file is damaged. The file begins again.
    Restarted {
        /// The file.
        path: String,
        /// Bytes that are lost.
        lost: u64,
    },
}

/// Follows a download. Called from several threads.
pub trait Progress: Send + Sync {
    /// Another step.
    fn event(&self, event: Event);
}

/// State that all files of a download share.
struct Shared<'a> {
    hub: &'a Hub,
    repository: &'a Repository,
    progress: &'a dyn Progress,
    connections: Semaphore,
    limiter: &'a Limiter,
    /// The model's present name, and the commit.
    name: ModelName,
}

/// Downloads the missing files of a model. Dropping the future stops; the received bytes stay for the next time.
///
/// # Errors
/// The hub refuses, cannot be reached, or sends wrong bytes. The disk has too little room.
pub async fn pull(hub: &Hub, pull: &Pull, progress: &dyn Progress) -> Result<Pulled, HubError> {
    let cache = Cache::new(&hub.settings().cache);
    if hub.settings().offline {
        return on_disk(&cache, pull);
    }
    let info = hub.model(&pull.name).await?;
    let repository = cache.repository(&info.id);
    let _lock = repository.lock_model(|| progress.event(Event::Waiting(info.id.clone()))).await?;
    let all = hub.files(&info.id, &info.commit).await?;
    let files = chosen(&all, pull)?;
    repository.prepare()?;
    let bytes = files.iter().map(|file| file.size).sum();
    let present = files.iter().map(|file| present_bytes(&repository, file)).sum();
    let event = Event::Planned {
        id: info.id.clone(),
        commit: info.commit.clone(),
        files: files.len(),
        bytes,
        present,
    };
    progress.event(event);
    require_room(&repository, bytes - present)?;
    download(hub, pull, &info, &repository, &files, progress).await?;
    let folder = repository.publish(&info.commit, &pull.name.revision, &files, &all)?;
    Ok(Pulled {
        id: info.id,
        commit: info.commit,
        folder,
        files: files.len(),
        bytes,
        received: bytes - present,
    })
}

async fn download(
    hub: &Hub,
    pull: &Pull,
    info: &ModelInfo,
    repository: &Repository,
    files: &[&RemoteFile],
    progress: &dyn Progress,
) -> Result<(), HubError> {
    let shared = Shared {
        hub,
        repository,
        progress,
        connections: Semaphore::new(pull.connections.max(1)),
        limiter: &pull.limiter,
        name: ModelName { id: info.id.clone(), revision: info.commit.clone() },
    };
    // Two names may have the same content.
    let mut contents: Vec<&RemoteFile> = Vec::new();
    for file in files {
        if contents.iter().all(|other| other.etag() != file.etag()) {
            contents.push(file);
        }
    }
    // Made before the stream, whose type would otherwise keep the future from moving between threads.
    let transfers: Vec<_> = contents.into_iter().map(|file| Transfer::new(&shared, file).run()).collect();
    futures::stream::iter(transfers).buffer_unordered(FILES).try_collect::<()>().await
}

/// The files to download.
fn chosen<'a>(all: &'a [RemoteFile], pull: &Pull) -> Result<Vec<&'a RemoteFile>, HubError> {
    match select(all, &pull.include) {
        Selection::Files(files) => Ok(files),
        Selection::NoWeights(instead) => {
            let instead =
                if instead.is_empty() { String::new() } else { format!(" (but {})", instead.join(", ")) };
            Err(HubError::NoWeights { id: pull.name.id.clone(), instead })
        }
    }
}

/// Bytes of a file that are on disk, as a blob or as a part of one.
fn present_bytes(repository: &Repository, file: &RemoteFile) -> u64 {
    if is_complete(repository, file) {
        file.size
    } else {
        Partial::present(repository, file.etag(), file.size)
    }
}

/// Whether the cache has a file's content. Only whole contents have this name.
fn is_complete(repository: &Repository, file: &RemoteFile) -> bool {
    std::fs::metadata(repository.blob(file.etag()))
        .is_ok_and(|meta| meta.is_file() && meta.len() == file.size)
}

fn require_room(repository: &Repository, needed: u64) -> Result<(), HubError> {
    let folder = repository.blobs();
    let stat = nix::sys::statvfs::statvfs(&folder).map_err(|errno| at(&folder)(errno.into()))?;
    // The types differ between systems.
    let free = (stat.blocks_available() as f64 * stat.fragment_size() as f64) as u64;
    if needed > 0 && free < needed.saturating_add(RESERVE) {
        return Err(HubError::Room { folder, needed, free });
    }
    Ok(())
}

/// The model without the hub, if all of it is on disk.
fn on_disk(cache: &Cache, pull: &Pull) -> Result<Pulled, HubError> {
    let repository = cache.repository(&pull.name.id);
    let unknown = || HubError::Offline(format!("\"{}\" is not complete on disk", pull.name));
    let commit = repository.commit(&pull.name.revision).ok_or_else(unknown)?;
    let all = repository.tree(&commit).ok_or_else(unknown)?;
    let files = chosen(&all, pull)?;
    let folder = repository.snapshot(&commit);
    let is_there =
        |file: &&RemoteFile| folder.join(&file.path).metadata().is_ok_and(|meta| meta.len() == file.size);
    if !files.iter().all(is_there) {
        return Err(unknown());
    }
    let bytes = files.iter().map(|file| file.size).sum();
    Ok(Pulled { id: pull.name.id.clone(), commit, folder, files: files.len(), bytes, received: 0 })
}

/// Runs blocking work on a file outside the runtime's threads.
async fn blocking<T: Send + 'static>(
    path: &Arc<PathBuf>,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, HubError> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(std::io::Error::other).and_then(|result| result).map_err(at(path.as_ref()))
}
