//! The cache of huggingface_hub: its folders, its locks and its contents.
//!
//! A model is `models--organisation--name`: `blobs/` has contents by their digests, `snapshots/COMMIT/` links to them by their
//! names, `refs/` names the commits of branches, `trees/COMMIT.json` lists the repository. Since version 2 a blob may be a link into
//! a store that all models share: `blobs/` beside the models. mlxd writes plain blobs and reads both.

use std::path::{Path, PathBuf};

use model_folder::hub_cache;

use crate::error::HubError;

mod leftovers;
mod locks;
mod publish;
mod removal;
mod shared_store;

pub use removal::Removal;

/// The cache.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// A model's folder in the cache.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    root: PathBuf,
    /// `models--organisation--name`.
    name: String,
}

impl Cache {
    /// The cache in this folder, which may be missing.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(crate) fn repository(&self, id: &str) -> Repository {
        Repository { root: self.root.clone(), name: hub_cache::folder_name(id) }
    }

    /// Whether the cache has a model, or a part of one.
    pub fn has(&self, id: &str) -> bool {
        self.repository(id).folder().is_dir()
    }

    /// Whether the folder is one of this model in the cache.
    pub fn holds(&self, id: &str, folder: &Path) -> bool {
        folder.starts_with(self.repository(id).folder())
    }

    /// The bytes that the removal of a model would free, also of an incomplete download.
    ///
    /// # Errors
    /// The cache does not have it.
    pub fn plan_removal(&self, id: &str) -> Result<Removal, HubError> {
        Removal::plan(&self.repository(id), id)
    }

    /// Removes a model, and the rest of an interrupted download. Contents that other models share stay.
    ///
    /// # Errors
    /// The cache does not have it, a download of it runs, or files cannot be removed.
    pub fn remove(&self, id: &str) -> Result<Removal, HubError> {
        removal::remove(&self.repository(id), id)
    }

    /// Removes what an unfinished download of a model has left. Complete snapshots stay. Returns the bytes that are free again.
    ///
    /// # Errors
    /// A download of it runs, or files cannot be removed.
    pub fn discard(&self, id: &str) -> Result<u64, HubError> {
        leftovers::discard(&self.repository(id), id)
    }
}

impl Repository {
    /// The model's folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    pub(crate) fn blobs(&self) -> PathBuf {
        self.folder().join("blobs")
    }

    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.blobs().join(etag)
    }

    pub(crate) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder().join("snapshots").join(commit)
    }

    /// The folder with the locks of this model.
    fn locks(&self) -> PathBuf {
        self.root.join(".locks").join(&self.name)
    }
}
