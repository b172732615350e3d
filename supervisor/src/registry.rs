//! Models on disk: what there is, what it is called, what its files' headers say.
//!
//! Every folder with a config.json below a models directory is a model, named by its path there; so are the snapshots in
//! Hugging Face's cache and what LM Studio has fetched. Only headers are read, and again only where a file has changed. Whoever
//! asks gets a list that is at most a moment old.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use ipc_proto::supervisor::Details;

mod inspect;
mod stores;

pub(crate) use stores::{Store, of_others};

/// A list of this age is looked at again.
const FRESH: Duration = Duration::from_millis(500);
/// Ids that an error message lists.
const LISTED: usize = 8;

/// A model's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// Modification time of its config.json, seconds since the epoch.
    pub(crate) created: u64,
    /// Bytes of its weight files.
    pub(crate) bytes: u64,
    /// Changes when a file does.
    stamp: Vec<(u64, u64)>,
}

/// The stores and what was found there.
#[derive(Debug)]
pub(crate) struct Registry {
    stores: Vec<Store>,
    folders: BTreeMap<String, Folder>,
    looked: Option<Instant>,
    /// What headers said, and of which files.
    details: BTreeMap<PathBuf, (Vec<(u64, u64)>, Details)>,
    /// Models that came, changed or went since that was asked for last.
    changed: BTreeSet<String>,
}

impl Registry {
    /// The models of these stores; where two have one id, the earlier store counts.
    pub(crate) fn new(stores: Vec<Store>) -> Self {
        Self {
            stores,
            folders: BTreeMap::new(),
            looked: None,
            details: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }

    /// Every model by id.
    pub(crate) fn folders(&mut self) -> &BTreeMap<String, Folder> {
        if self.looked.is_none_or(|looked| looked.elapsed() > FRESH) {
            self.look();
        }
        &self.folders
    }

    /// A model by its id; one that was not there a moment ago is looked for.
    pub(crate) fn folder(&mut self, id: &str) -> Option<Folder> {
        // A model may have been put there just now, and one that is asked for may have been mended.
        self.look();
        self.folders.get(id).cloned()
    }

    /// A model by its id, as it was seen last.
    pub(crate) fn known(&mut self, id: &str) -> Option<Folder> {
        self.folders().get(id).cloned()
    }

    /// What the headers of a model's files say.
    pub(crate) fn details(&mut self, folder: &Folder) -> Details {
        if let Some((stamp, details)) = self.details.get(&folder.path)
            && *stamp == folder.stamp
        {
            return details.clone();
        }
        let details = inspect::inspect(&folder.path);
        self.details.insert(folder.path.clone(), (folder.stamp.clone(), details.clone()));
        details
    }

    /// The models whose files came, changed or went since this was asked for last, and whether they are there.
    pub(crate) fn changed(&mut self) -> Vec<(String, bool)> {
        let changed = std::mem::take(&mut self.changed);
        let there = |id: String| {
            let there = self.folders.contains_key(&id);
            (id, there)
        };
        changed.into_iter().map(there).collect()
    }

    /// Says which models there are, for somebody who asked for another.
    pub(crate) fn there_are(&mut self) -> String {
        let ids: Vec<&str> = self.folders().keys().map(String::as_str).collect();
        match ids.len() {
            0 => {
                let places: Vec<String> =
                    self.stores.iter().map(|store| store.path().display().to_string()).collect();
                format!("there are no models yet; put model folders into {}", places.join(" or "))
            }
            n if n > LISTED => format!("available are {} and {} more", ids[..LISTED].join(", "), n - LISTED),
            _ => format!("available are {}", ids.join(", ")),
        }
    }

    fn look(&mut self) {
        let before = std::mem::replace(&mut self.folders, stores::scan(&self.stores));
        if self.looked.replace(Instant::now()).is_some() {
            let all = before.keys().chain(self.folders.keys());
            let changed = all.filter(|id| before.get(*id) != self.folders.get(*id));
            self.changed.extend(changed.cloned());
        }
        let folders = &self.folders;
        self.details.retain(|path, _| folders.values().any(|folder| folder.path == *path));
    }
}

/// The model in a folder, if it is one.
fn folder(path: &Path) -> Option<Folder> {
    let config = fs::metadata(path.join("config.json")).ok().filter(fs::Metadata::is_file)?;
    let mut stamp = vec![stamp_of(&config)];
    let files = fs::read_dir(path).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut weights: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|extension| extension == "safetensors")).collect();
    weights.sort();
    let mut bytes = 0;
    for meta in weights.iter().filter_map(|file| fs::metadata(file).ok()) {
        bytes += meta.len();
        stamp.push(stamp_of(&meta));
    }
    let others = ["tokenizer_config.json", "chat_template.jinja", "chat_template.json", "modules.json"];
    let mut others: Vec<PathBuf> = others.iter().map(|name| path.join(name)).collect();
    let named = fs::read_dir(path.join("additional_chat_templates")).into_iter().flatten();
    others.extend(named.filter_map(Result::ok).map(|entry| entry.path()));
    stamp.extend(others.iter().filter_map(|file| fs::metadata(file).ok()).map(|meta| stamp_of(&meta)));
    let created = config.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Some(Folder { path: path.to_owned(), created: created.map_or(0, |time| time.as_secs()), bytes, stamp })
}

fn stamp_of(meta: &fs::Metadata) -> (u64, u64) {
    let modified = meta.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    (meta.len(), modified.map_or(0, |time| time.as_nanos() as u64))
}

#[cfg(test)]
mod tests;
