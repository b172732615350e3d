//! The layouts of model stores: plain folders, Hugging Face's cache, LM Studio's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Folder;
use super::files::read_text;
use super::scan::read_folder;

/// Levels of folders that are searched. `organisation/model` needs two.
const MAX_DEPTH: usize = 4;
/// Bytes of a `refs/main` file. A revision has 40.
const MAX_REVISION_BYTES: u64 = 256;

/// A folder with models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// Models are named by their paths below it. It can be a model itself.
    Folder(PathBuf),
    /// `models--organisation--name/snapshots/<revision>`, the layout of huggingface_hub
    /// (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).
    Hub(PathBuf),
    /// `organisation/name` folders of another program. Only those with weights in safetensors count.
    Foreign(PathBuf),
}

impl Store {
    pub(crate) fn path(&self) -> &Path {
        let (Self::Folder(path) | Self::Hub(path) | Self::Foreign(path)) = self;
        path
    }
}

/// The stores of other programs, located by their own rules.
///
/// Hugging Face's cache: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, ~/.cache.
/// LM Studio's models: ~/.lmstudio, formerly ~/.cache/lm-studio.
pub(crate) fn stores_of_other_programs(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<Store> {
    let home = variable("HOME");
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
    let hub = variable("HF_HUB_CACHE")
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(cache?.join("huggingface/hub")));
    let mut stores: Vec<Store> = hub.map(Store::Hub).into_iter().collect();
    if let Some(home) = home {
        stores.push(Store::Foreign(home.join(".lmstudio/models")));
        stores.push(Store::Foreign(home.join(".cache/lm-studio/models")));
    }
    stores
}

/// Every model folder of a store, by id.
pub(super) fn find_folders(store: &Store) -> BTreeMap<String, Folder> {
    let mut found = BTreeMap::new();
    match store {
        // A directory that is a model itself is named by its own name.
        Store::Folder(path) => match (read_folder(path), path.file_name()) {
            (Some(folder), Some(name)) => drop(found.insert(name.to_string_lossy().into_owned(), folder)),
            _ => walk(path, "", MAX_DEPTH, &mut found),
        },
        Store::Foreign(path) => {
            walk(path, "", 2, &mut found);
            found.retain(|_, folder| folder.has_weights);
        }
        Store::Hub(path) => found.extend(find_snapshots(path)),
    }
    found
}

fn walk(directory: &Path, prefix: &str, depth: usize, found: &mut BTreeMap<String, Folder>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        // A request cannot name a folder whose name is not UTF-8.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let path = entry.path();
        if name.starts_with('.') || !path.is_dir() {
            continue;
        }
        let id = format!("{prefix}{name}");
        if let Some(folder) = read_folder(&path) {
            found.insert(id, folder);
        } else if depth > 1 {
            // The depth also bounds symbolic links that form a cycle.
            walk(&path, &format!("{id}/"), depth - 1, found);
        }
    }
}

fn find_snapshots(cache: &Path) -> Vec<(String, Folder)> {
    let Ok(entries) = fs::read_dir(cache) else { return Vec::new() };
    entries.filter_map(Result::ok).filter_map(|entry| read_snapshot(&entry)).collect()
}

/// The snapshot of a repository; `None` if none has weights.
///
/// It is the one that `refs/main` names. The download of another revision writes no `refs/main`, or leaves an old one. Then it is
/// the newest snapshot.
fn read_snapshot(entry: &fs::DirEntry) -> Option<(String, Folder)> {
    let name = entry.file_name();
    let id = name.to_str()?.strip_prefix("models--")?.replace("--", "/");
    let snapshots = entry.path().join("snapshots");
    let folder = main_revision(&entry.path())
        .and_then(|revision| read_weights_folder(&snapshots.join(revision)))
        .or_else(|| newest_snapshot(&snapshots))?;
    Some((id, folder))
}

/// The revision in `refs/main`.
fn main_revision(repository: &Path) -> Option<String> {
    let reference = read_text(&repository.join("refs/main"), MAX_REVISION_BYTES).ok()?;
    let revision = reference.trim();
    // The file's content becomes part of a path.
    let is_revision = !revision.is_empty() && revision.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_revision.then(|| revision.to_owned())
}

/// The snapshot that was written last; of several, the last by name.
fn newest_snapshot(snapshots: &Path) -> Option<Folder> {
    let mut newest: Option<(SystemTime, Folder)> = None;
    for entry in fs::read_dir(snapshots).ok()?.filter_map(Result::ok) {
        let Some(folder) = read_weights_folder(&entry.path()) else { continue };
        let written = entry.metadata().and_then(|meta| meta.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let is_newer =
            newest.as_ref().is_none_or(|(time, other)| (*time, &other.path) < (written, &folder.path));
        if is_newer {
            newest = Some((written, folder));
        }
    }
    newest.map(|(_, folder)| folder)
}

fn read_weights_folder(path: &Path) -> Option<Folder> {
    read_folder(path).filter(|folder| folder.has_weights)
}
