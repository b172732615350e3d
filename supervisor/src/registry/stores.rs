//! Where models lie: plain folders, Hugging Face's cache, LM Studio's folder.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Folder, folder};

/// Levels of folders that are looked into; `organisation/model` needs two.
const MAX_DEPTH: usize = 4;

/// A place with models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Store {
    /// Models are named by their paths below it; it can be a model itself.
    Folder(PathBuf),
    /// `models--organisation--name/snapshots/<revision>`, as huggingface_hub lays it out
    /// (<https://huggingface.co/docs/huggingface_hub/guides/manage-cache>).
    Hub(PathBuf),
    /// `organisation/name` folders of another program, of which only those with weights that we read count.
    Foreign(PathBuf),
}

impl Store {
    /// Its folder.
    pub(crate) fn path(&self) -> &Path {
        let (Self::Folder(path) | Self::Hub(path) | Self::Foreign(path)) = self;
        path
    }
}

/// The stores of other programs, as these find them: Hugging Face's cache (HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, ~/.cache) and
/// LM Studio's models (~/.lmstudio, earlier ~/.cache/lm-studio).
pub(crate) fn of_others(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<Store> {
    let home = variable("HOME");
    let cache = variable("XDG_CACHE_HOME").or_else(|| Some(home.as_ref()?.join(".cache")));
    let hub = variable("HF_HUB_CACHE")
        .or_else(|| Some(variable("HF_HOME")?.join("hub")))
        .or_else(|| Some(cache?.join("huggingface/hub")));
    let studio = home
        .iter()
        .flat_map(|home| [".lmstudio/models", ".cache/lm-studio/models"].map(|name| home.join(name)));
    hub.map(Store::Hub).into_iter().chain(studio.map(Store::Foreign)).collect()
}

/// Every model in `stores`, by id. Where two have one id, the earlier store counts.
pub(super) fn scan(stores: &[Store]) -> BTreeMap<String, Folder> {
    let mut found = BTreeMap::new();
    for store in stores {
        match store {
            // A directory that is a model itself is named by its own name.
            Store::Folder(path) => match (folder(path), path.file_name()) {
                (Some(folder), Some(name)) => {
                    found.entry(name.to_string_lossy().into_owned()).or_insert(folder);
                }
                _ => visit(path, "", MAX_DEPTH, &mut |id, folder| {
                    found.entry(id).or_insert(folder);
                }),
            },
            Store::Foreign(path) => visit(path, "", 2, &mut |id, folder| {
                if folder.bytes > 0 {
                    found.entry(id).or_insert(folder);
                }
            }),
            Store::Hub(path) => {
                for (id, folder) in hub(path) {
                    found.entry(id).or_insert(folder);
                }
            }
        }
    }
    found
}

fn visit(directory: &Path, prefix: &str, depth: usize, found: &mut dyn FnMut(String, Folder)) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.filter_map(Result::ok) {
        // A name that is not text could not be asked for.
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else { continue };
        let path = entry.path();
        if name.starts_with('.') || !path.is_dir() {
            continue;
        }
        let id = format!("{prefix}{name}");
        if let Some(folder) = folder(&path) {
            found(id, folder);
        } else if depth > 1 {
            // The depth also bounds links that lead in circles.
            visit(&path, &format!("{id}/"), depth - 1, found);
        }
    }
}

/// The models of a hub cache: the snapshot that `refs/main` names, if it is whole enough to have weights.
fn hub(cache: &Path) -> Vec<(String, Folder)> {
    let Ok(entries) = fs::read_dir(cache) else { return Vec::new() };
    let model = |entry: fs::DirEntry| {
        let name = entry.file_name();
        let id = name.to_str()?.strip_prefix("models--")?.replace("--", "/");
        let revision = fs::read_to_string(entry.path().join("refs/main")).ok()?;
        let revision = revision.trim();
        // The file's content becomes part of a path.
        if revision.is_empty() || !revision.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        let folder = folder(&entry.path().join("snapshots").join(revision))?;
        (folder.bytes > 0).then_some((id, folder))
    };
    entries.filter_map(Result::ok).filter_map(model).collect()
}
