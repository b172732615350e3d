//! Removes a model from the cache.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Repository;
use super::publish::remove_folder;
use super::shared_store::SharedStore;
use crate::error::HubError;

/// The files and bytes that a removal frees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    /// The model's folder.
    pub folder: PathBuf,
    /// Bytes on disk, without contents that other models share.
    pub freed: u64,
    /// Bytes that stay because other models share them.
    pub shared: u64,
}

/// A model's blobs, and the contents of the shared store that they lead to.
struct Blobs {
    links: BTreeSet<PathBuf>,
    contents: BTreeSet<PathBuf>,
}

impl Removal {
    pub(super) fn plan(repository: &Repository, id: &str) -> Result<Self, HubError> {
        let folder = repository.folder();
        if !folder.is_dir() {
            return Err(HubError::NotCached(id.to_owned()));
        }
        let (mut freed, mut shared) = (disk_usage(&folder), 0);
        if let Some(store) = SharedStore::open(&repository.root) {
            let blobs = Blobs::of(repository, &store);
            for content in &blobs.contents {
                let bytes = store.freed(content, &blobs.links);
                freed += bytes;
                shared += fs::symlink_metadata(content).map_or(0, |meta| meta.len()) - bytes;
            }
        }
        Ok(Self { folder, freed, shared })
    }
}

impl Blobs {
    fn of(repository: &Repository, store: &SharedStore) -> Self {
        let entries = fs::read_dir(repository.blobs()).into_iter().flatten().filter_map(Result::ok);
        let mut blobs = Self { links: BTreeSet::new(), contents: BTreeSet::new() };
        for path in entries.map(|entry| entry.path()) {
            if let Some(content) = store.content(&path) {
                blobs.links.insert(path);
                blobs.contents.insert(content);
            }
        }
        blobs
    }
}

/// Removes a model: first what makes it visible, then its contents, then shared contents that nothing leads to any more.
pub(super) fn remove(repository: &Repository, id: &str) -> Result<Removal, HubError> {
    let removal = Removal::plan(repository, id)?;
    let _lock = repository.try_lock_model()?.ok_or_else(|| HubError::InUse(id.to_owned()))?;
    let store = SharedStore::open(&repository.root);
    let contents = store.as_ref().map(|store| Blobs::of(repository, store).contents).unwrap_or_default();
    for part in ["refs", "snapshots"] {
        remove_folder(&removal.folder.join(part))?;
    }
    remove_folder(&removal.folder)?;
    if let Some(store) = store {
        for content in contents {
            store.sweep(&content)?;
        }
    }
    remove_folder(&repository.locks())?;
    Ok(removal)
}

/// Bytes that a file occupies. Gaps occupy nothing.
pub(super) fn disk_bytes(meta: &fs::Metadata) -> u64 {
    meta.len().min(meta.blocks() * 512)
}

/// Bytes that the files below a folder occupy. An incomplete download has gaps that occupy nothing.
fn disk_usage(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let usage = |path: PathBuf| match fs::symlink_metadata(&path) {
        Ok(meta) if meta.is_dir() => disk_usage(&path),
        Ok(meta) if meta.is_file() => disk_bytes(&meta),
        _ => 0,
    };
    entries.map(|entry| usage(entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::Cache;
    use super::*;

    /// A cache in which two models share one content.
    fn shared() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (root, hash) = (folder.path(), "ab".repeat(32));
        let store = root.join("blobs/ab");
        fs::create_dir_all(&store).unwrap();
        fs::write(root.join("blobs/.huggingface-shared-blobs"), "1\n").unwrap();
        fs::write(store.join(&hash), vec![7; 9000]).unwrap();
        let mut list = String::new();
        for model in ["models--o--a", "models--o--b"] {
            let blobs = root.join(model).join("blobs");
            let snapshot = root.join(model).join("snapshots/c");
            fs::create_dir_all(&blobs).unwrap();
            fs::create_dir_all(&snapshot).unwrap();
            symlink(format!("../../blobs/ab/{hash}"), blobs.join("etag")).unwrap();
            symlink("../../blobs/etag", snapshot.join("model.safetensors")).unwrap();
            list.push_str(&format!("{model}/blobs/etag\n"));
        }
        fs::write(store.join(format!("{hash}.refs")), list).unwrap();
        let content = store.join(&hash);
        (folder, content)
    }

    #[test]
    fn shared_content_goes_with_the_last_model_that_has_it() {
        let (folder, content) = shared();
        let cache = Cache::new(folder.path());
        let first = cache.remove("o/a").unwrap();
        assert_eq!((first.freed, first.shared), (0, 9000));
        assert!(!first.folder.exists() && content.exists());
        let list = fs::read_to_string(content.with_file_name(format!("{}.refs", "ab".repeat(32)))).unwrap();
        assert_eq!(list, "models--o--b/blobs/etag\n");
        assert_eq!(cache.remove("o/b").unwrap().freed, 9000);
        assert!(!content.exists());
    }

    #[test]
    fn content_without_a_list_stays() {
        let (folder, content) = shared();
        fs::remove_file(content.with_file_name(format!("{}.refs", "ab".repeat(32)))).unwrap();
        Cache::new(folder.path()).remove("o/a").unwrap();
        assert!(content.exists());
    }

    #[test]
    fn unknown_model_is_named_with_the_command_that_lists() {
        let folder = tempfile::tempdir().unwrap();
        let error = Cache::new(folder.path()).remove("o/x").unwrap_err().to_string();
        assert!(error.contains("o/x") && error.contains("mlxd ls"), "{error}");
    }

    #[test]
    fn model_that_is_downloaded_now_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let repository = Cache::new(folder.path()).repository("o/m");
        repository.prepare().unwrap();
        let _lock = repository.try_lock_model().unwrap().unwrap();
        assert!(matches!(remove(&repository, "o/m"), Err(HubError::InUse(_))));
    }
}
